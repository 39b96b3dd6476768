/* What a C program does with a store: every call, and every way a call can go wrong here. */
#include "drystone.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(condition)                                                                            \
    do {                                                                                            \
        if (!(condition)) {                                                                         \
            fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #condition, dry_last_error());    \
            exit(1);                                                                                \
        }                                                                                           \
    } while (0)

int main(int argc, char **argv) {
    dry_store *store = NULL;
    dry_blob *blob = NULL;
    dry_draft *draft = NULL;
    char id[DRY_ID_BYTES], other[DRY_ID_BYTES];
    CHECK(argc == 2);
    CHECK(dry_open(argv[1], 0, &store) == DRY_NOT_A_STORE && strlen(dry_last_error()) > 20);
    CHECK(dry_open(argv[1], DRY_CREATE, &store) == DRY_OK);
    CHECK(dry_put(store, "gneiss", 6, id) == DRY_OK && strncmp(id, "xxh3:", 5) == 0);
    CHECK(dry_put(store, NULL, 0, other) == DRY_OK && strcmp(id, other) != 0);
    CHECK(dry_put(store, NULL, 1, other) == DRY_INVALID_INPUT);
    CHECK(dry_get(store, "nonsense", &blob) == DRY_INVALID_INPUT);
    CHECK(dry_get(store, "xxh3:00000000000000000000000000000000", &blob) == DRY_NOT_FOUND);
    CHECK(dry_get(store, id, &blob) == DRY_OK);
    CHECK(dry_ref_set(store, "c", "key", 3, id) == DRY_OK);
    CHECK(dry_ref_get(store, "c", "key", 3, other) == DRY_OK && strcmp(id, other) == 0);
    CHECK(dry_ref_get(store, "c", "none", 4, other) == DRY_NOT_FOUND);
    CHECK(dry_ref_wait(store, "c", "none", 4, 20, other) == DRY_TIMED_OUT);
    CHECK(dry_ref_wait(store, "c", "key", 3, 20, other) == DRY_OK);
    CHECK(dry_ref_remove(store, "c", "key", 3) == DRY_OK);
    CHECK(dry_ref_remove(store, "c", "key", 3) == DRY_NOT_FOUND);
    size_t count = 1 << 20;
    CHECK(dry_reserve(store, count * sizeof(double), &draft) == DRY_OK);
    double *field = dry_draft_data(draft);
    for (size_t i = 0; i < count; i++) field[i] = (double)i;
    CHECK(dry_draft_commit(&draft, other) == DRY_OK && draft == NULL);
    CHECK(dry_draft_commit(&draft, other) == DRY_INVALID_INPUT);
    CHECK(dry_reserve(store, 100, &draft) == DRY_OK);
    dry_draft_abort(draft);
    CHECK(dry_sync(store) == DRY_OK);
    CHECK(dry_unpin(store, other) == DRY_OK && dry_unpin(store, other) == DRY_NOT_FOUND);
    CHECK(dry_remove(store, id) == DRY_OK && dry_remove(store, id) == DRY_NOT_FOUND);
    dry_close(store);
    CHECK(dry_blob_len(blob) == 6 && memcmp(dry_blob_data(blob), "gneiss", 6) == 0);
    dry_blob_release(blob);
    CHECK(dry_open(argv[1], DRY_READONLY, &store) == DRY_OK);
    CHECK(dry_get(store, other, &blob) == DRY_OK);
    CHECK(((const double *)dry_blob_data(blob))[count - 1] == (double)(count - 1));
    CHECK(dry_put(store, "x", 1, id) == DRY_READ_ONLY);
    dry_blob_release(blob);
    dry_close(store);
    puts("ok");
    return 0;
}
