//! An array is a blob in the `.npy` format, whichever way it came in.
#![forbid(unsafe_code)]

use crate::support::{KIB, Scratch, each_hash};
use drystone::{ArrayHeader, ErrorKind};

fn data(count: u64) -> Vec<u8> {
    (0..count).flat_map(|i| (i as f64).to_le_bytes()).collect()
}

#[test]
fn an_array_is_its_file_byte_for_byte() {
    each_hash(|store| {
        for shape in [vec![], vec![0], vec![3], vec![100, 7], vec![10, 20, 30, 4]] {
            let header = ArrayHeader::new::<f64>(&shape);
            let data = data(header.element_count().unwrap());
            let file = [header.encode(), data.clone()].concat();
            let id = store.put_array(&header, &data).unwrap();
            let blob = store.get(&id).unwrap().unwrap();
            assert!(*blob == *file, "{shape:?}");
            assert_eq!(store.put(&file).unwrap(), id, "{shape:?}");
            let (parsed, part) = ArrayHeader::split(&blob).unwrap();
            assert_eq!((parsed, part), (header.clone(), &data[..]));
            assert_eq!(part.as_ptr() as usize % 64, 0, "the data are aligned");

            let mut draft = store.reserve_array(&header).unwrap();
            assert_eq!(draft.len(), data.len(), "the header is not handed out");
            draft.copy_from_slice(&data);
            assert_eq!(draft.commit().unwrap(), id, "{shape:?}");
        }
    });
}

#[test]
fn an_array_is_computed_in_place() {
    each_hash(|store| {
        for count in [10, 100_000] {
            let header = ArrayHeader::new::<f64>(&[count]);
            let mut draft = store.reserve_array(&header).unwrap();
            let elements = draft.as_mut_slice_of::<f64>().expect("aligned");
            elements.iter_mut().enumerate().for_each(|(i, x)| *x = i as f64);
            let id = draft.commit_as(&store.refs("arrays"), "a").unwrap();
            assert_eq!(id, store.put_array(&header, &data(count)).unwrap());
        }
    });
}

#[test]
fn an_array_draft_that_is_named_by_a_long_key_is_the_same_blob() {
    each_hash(|store| {
        let header = ArrayHeader::new::<f64>(&[20_000]);
        let mut draft = store.reserve_array(&header).unwrap();
        draft.copy_from_slice(&data(20_000));
        let id = draft.commit_as(&store.refs("arrays"), vec![b'k'; 5 * KIB]).unwrap();
        assert_eq!(id, store.put_array(&header, &data(20_000)).unwrap());
    });
}

#[test]
fn data_must_be_as_long_as_the_header_says() {
    let scratch = Scratch::new();
    let store = scratch.store();
    let header = ArrayHeader::new::<f64>(&[3]);
    for len in [0, 23, 25] {
        let error = store.put_array(&header, &vec![0; len]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    }
    let endless = ArrayHeader::new::<f64>(&[u64::MAX, 2]);
    assert_eq!(store.put_array(&endless, b"").unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(store.reserve_array(&endless).unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(store.stats().unwrap().blobs, 0);
}
