/* Drystone: an embedded, content-addressed blob store for large arrays.
 *
 * Every function that can fail returns 0 (DRY_OK) or one of DRY_*; dry_last_error() then tells what
 * was expected, what was found and what to do. Ids are text, NUL-terminated, in buffers of
 * DRY_ID_BYTES. Handles may be used by any number of threads, drafts by one at a time. */
#ifndef DRYSTONE_H
#define DRYSTONE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define DRY_ID_BYTES 72

#define DRY_OK 0
#define DRY_NOT_FOUND 1
#define DRY_NOT_A_STORE 2
#define DRY_ALREADY_EXISTS 3
#define DRY_UNSUPPORTED_VERSION 4
#define DRY_PROTOCOL_MISMATCH 5
#define DRY_DAMAGED 6
#define DRY_ID_COLLISION 7
#define DRY_NO_SPACE 8
#define DRY_INDEX_FULL 9
#define DRY_LIMIT 10
#define DRY_BUSY 11
#define DRY_FILE_SYSTEM_REFUSED 12
#define DRY_PERMISSION 13
#define DRY_READ_ONLY 14
#define DRY_INVALID_INPUT 15
#define DRY_SYNC_FAILED 16
#define DRY_FORKED 17
#define DRY_TIMED_OUT 18
#define DRY_IO 19

/* dry_open */
#define DRY_CREATE 1u    /* make the store if there is none */
#define DRY_READONLY 2u  /* only read */
#define DRY_BLAKE3 4u    /* ids of a store that is made are BLAKE3 */
#define DRY_SYNCED 8u    /* operations are acknowledged when they survive power loss */

typedef struct dry_store dry_store;
typedef struct dry_blob dry_blob;
typedef struct dry_draft dry_draft;

/* What went wrong in the last call of this thread that failed; valid until the next one. */
const char *dry_last_error(void);

int dry_open(const char *path, unsigned flags, dry_store **store);
void dry_close(dry_store *store); /* views and drafts stay valid */

/* Stores and pins bytes (which other threads may be writing: the id is that of what was stored). */
int dry_put(dry_store *store, const void *bytes, size_t len, char id[DRY_ID_BYTES]);
/* A view of a blob: no copy, valid until it is released. */
int dry_get(dry_store *store, const char *id, dry_blob **blob);
const void *dry_blob_data(const dry_blob *blob);
size_t dry_blob_len(const dry_blob *blob);
void dry_blob_release(dry_blob *blob);
int dry_unpin(dry_store *store, const char *id);
int dry_remove(dry_store *store, const char *id);

/* A blob to be computed in place: zero at first. Exactly one of commit and abort ends it; after a
 * commit that failed the draft is still there. */
int dry_reserve(dry_store *store, uint64_t len, dry_draft **draft);
void *dry_draft_data(dry_draft *draft);
int dry_draft_commit(dry_draft **draft, char id[DRY_ID_BYTES]);
void dry_draft_abort(dry_draft *draft);

/* Refs: names bound to blobs. */
int dry_ref_set(dry_store *store, const char *space, const void *key, size_t key_len, const char *id);
int dry_ref_get(dry_store *store, const char *space, const void *key, size_t key_len,
                char id[DRY_ID_BYTES]);
/* Waits until the ref is bound; DRY_TIMED_OUT after so many milliseconds. */
int dry_ref_wait(dry_store *store, const char *space, const void *key, size_t key_len,
                 uint64_t milliseconds, char id[DRY_ID_BYTES]);
int dry_ref_remove(dry_store *store, const char *space, const void *key, size_t key_len);

/* Makes all that is visible here durable, whoever wrote it. */
int dry_sync(dry_store *store);

#ifdef __cplusplus
}
#endif

#endif
