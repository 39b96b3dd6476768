//! File systems that cannot be written, or not any more.

use super::mounts::Mount;
use super::rig::{self, refused};
use super::{furnished, goes_on, options};
use drystone::{ErrorKind, Store};

#[test]
fn a_read_only_file_system_is_read_and_refused_for_writing() {
    let place = rig::on_disk();
    let path = place.path().join("store");
    let (store, ledger) = furnished(&path);
    drop(store);
    let Some(mount) = Mount::bind(place.path(), "ro") else { return };
    let through = mount.path().join("store");
    let says = ["Read-only file system", "open the store read-only, or remount"];
    refused(Store::open(&through), ErrorKind::ReadOnly, &says);
    refused(options().open(&through), ErrorKind::ReadOnly, &says);
    refused(options().open(mount.path().join("new")), ErrorKind::ReadOnly, &says);
    let reader = rig::options().read_only(true).open(&through).expect("a reader");
    ledger.check(&reader, "through a read-only mount");
    refused(reader.put(b"new"), ErrorKind::ReadOnly, &["opened read-only"]);
    drop((reader, mount));
    goes_on(Store::open(&path).expect("the store"), ledger);
}

#[test]
fn a_file_system_that_becomes_read_only_is_still_read() {
    let Some(mount) = Mount::ext4(32) else { return };
    let (store, ledger) = furnished(&mount.path().join("store"));
    store.sync().expect("a sync");
    // As after an error in its journal.
    if !mount.try_remount("abort") {
        return rig::say("SKIPPED: this kernel does not make an ext4 read-only");
    }
    let mut refusals = 0;
    for len in [10, 3000, 70 << 10, 300 << 10] {
        if let Err(error) = store.put(&rig::bytes(len, 99)) {
            let kind = error.kind();
            assert!([ErrorKind::ReadOnly, ErrorKind::Io].contains(&kind), "{error:?}");
            refusals += 1;
        }
    }
    assert!(refusals > 0, "it was written");
    ledger.check_blobs(&store, "read-only now");
}
