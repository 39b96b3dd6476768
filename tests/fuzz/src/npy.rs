//! Headers of `.npy` files: what is parsed is the same when it is written and parsed again.

use drystone::ArrayHeader;

/// Any bytes, as a file, and as the dictionary of a header of each version.
pub fn run(data: &[u8]) {
    look(data);
    for version in [1u8, 2, 3] {
        let mut file = b"\x93NUMPY".to_vec();
        file.extend([version, 0]);
        let len = data.len().min(usize::from(u16::MAX));
        match version {
            1 => file.extend((len as u16).to_le_bytes()),
            _ => file.extend((len as u32).to_le_bytes()),
        }
        file.extend(&data[..len]);
        look(&file);
    }
}

fn look(file: &[u8]) {
    let Ok((header, offset)) = ArrayHeader::parse(file) else { return };
    assert!(offset <= file.len());
    let _ = (header.item_bytes(), header.element_count(), header.data_bytes());
    if let Ok((_, data)) = ArrayHeader::split(file) {
        assert_eq!(header.data_bytes().expect("it was split"), data.len() as u64);
    }
    let written = header.encode();
    assert_eq!(written.len() % 64, 0);
    let (again, _) = ArrayHeader::parse(&written).expect("what was just written");
    assert_eq!((&again.descr, &again.shape), (&header.descr, &header.shape));
}
