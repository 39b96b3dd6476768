//! Headers against those of NumPy (spec/vectors/npy.txt), and bytes that are no headers.
#![forbid(unsafe_code)]

use super::*;
use proptest::prelude::*;
use xxhash_rust::xxh3::xxh3_128;

/// A vector: the header, bytes of an element, and the digest and length of the encoded header.
struct Vector {
    header: ArrayHeader,
    item_bytes: u64,
    len: usize,
    digest: String,
    shown: String,
}

fn vectors() -> Vec<Vector> {
    let text = include_str!("../../spec/vectors/npy.txt");
    text.lines().filter(|line| !line.starts_with('#')).map(vector).collect()
}

fn vector(line: &str) -> Vector {
    let [descr, order, shape, item_bytes, len, digest, shown] =
        line.split('\t').collect::<Vec<_>>()[..]
    else {
        panic!("not a vector: {line}")
    };
    let descr = match descr.strip_prefix("fields ") {
        Some(count) => {
            let field = |i| format!("('field{i:05}', '<f8')");
            let fields: Vec<_> = (0..count.parse::<u32>().unwrap()).map(field).collect();
            format!("[{}]", fields.join(", "))
        }
        None => descr.to_owned(),
    };
    let extents = shape.split(',').filter(|extent| *extent != "-");
    let shape = extents.map(|extent| extent.parse().unwrap()).collect();
    Vector {
        header: ArrayHeader { descr, fortran_order: order == "fortran", shape },
        item_bytes: item_bytes.parse().unwrap(),
        len: len.parse().unwrap(),
        digest: digest.to_owned(),
        shown: shown.to_owned(),
    }
}

fn with_text(text: &str) -> Vec<u8> {
    wrap(1, text.as_bytes())
}

fn refused(bytes: &[u8]) -> String {
    let error = ArrayHeader::parse(bytes).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    error.to_string()
}

#[test]
fn headers_are_those_that_numpy_writes() {
    let vectors = vectors();
    assert!(vectors.len() >= 45, "{} vectors", vectors.len());
    for vector in vectors {
        let bytes = vector.header.encode();
        if vector.shown != "-" {
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(hex, vector.shown, "{:?}", vector.header);
        }
        assert_eq!(bytes.len(), vector.len, "{:?}", vector.header);
        assert_eq!(format!("{:032x}", xxh3_128(&bytes)), vector.digest, "{:?}", vector.header);
        assert_eq!(vector.header.item_bytes().unwrap(), vector.item_bytes);
        let (parsed, offset) = ArrayHeader::parse(&bytes).unwrap();
        assert_eq!((&parsed.descr, &parsed.shape), (&vector.header.descr, &vector.header.shape));
        assert_eq!((offset, parsed.encode()), (bytes.len(), bytes));
    }
}

#[test]
fn all_three_versions_are_among_the_vectors() {
    let found: Vec<u8> = vectors().iter().map(|vector| vector.header.encode()[6]).collect();
    for version in 1..=3 {
        assert!(found.contains(&version), "version {version}");
    }
}

#[test]
fn elements_have_the_size_that_numpy_gives_them() {
    fn same<T: Element>() {
        let header = ArrayHeader::new::<T>(&[2, 3]);
        assert_eq!(header.item_bytes().unwrap(), size_of::<T>() as u64, "{}", T::DESCR);
        assert_eq!(header.data_bytes().unwrap(), 6 * size_of::<T>() as u64);
        assert!(header.holds::<T>());
    }
    macro_rules! all_same {
        ($($type:ty),*) => {$( same::<$type>(); )*};
    }
    all_same!(bool, u8, u16, u32, u64, i8, i16, i32, i64, f32, f64, [f32; 2], [f64; 2]);
    assert!(!ArrayHeader::new::<f32>(&[1]).holds::<i32>());
}

#[test]
fn files_of_other_writers_are_read() {
    let f8 = |fortran_order, shape: &[u64]| ArrayHeader {
        descr: "<f8".into(),
        fortran_order,
        shape: shape.to_vec(),
    };
    for (text, expected) in [
        // No trailing comma, other quotes, other order, other blanks.
        ("{\"shape\":(2,3),\"descr\":\"<f8\",\"fortran_order\":True}", f8(true, &[2, 3])),
        // Python 2's long integers.
        ("{'descr': '<f8', 'fortran_order': False, 'shape': (2L, 3L), }", f8(false, &[2, 3])),
        ("\n{ 'descr' :'<f8' , 'fortran_order': False, 'shape': ( 2 , )\t} ", f8(false, &[2])),
        ("{'descr': ('<f8'), 'fortran_order': (False), 'shape': ()}", f8(false, &[])),
    ] {
        assert_eq!(ArrayHeader::parse(&with_text(text)).unwrap().0, expected, "{text}");
    }
    // Older NumPy aligned to 16, and left no room to grow.
    let text = b"{'descr': '<f8', 'fortran_order': False, 'shape': (3,), }            \n";
    let bytes = [&MAGIC[..], &[1, 0, 70, 0], text].concat();
    assert_eq!(ArrayHeader::parse(&bytes).unwrap(), (f8(false, &[3]), 80));
}

#[test]
fn what_is_no_header_is_refused() {
    let whole = ArrayHeader::new::<f64>(&[3, 4]).encode();
    for len in 0..whole.len() {
        refused(&whole[..len]);
    }
    let ok = "{'descr': '<f8', 'fortran_order': False, 'shape': (1,), }";
    ArrayHeader::parse(&with_text(ok)).unwrap();
    for (from, to) in [
        ("'<f8'", "'[(x)]'"),
        ("'<f8'", "8"),
        ("'<f8'", "'<f8\\x00'"),
        ("'<f8'", "'<f8"),
        ("False", "0"),
        ("False", "false"),
        ("(1,)", "(1)"),
        ("(1,)", "1"),
        ("(1,)", "[1]"),
        ("(1,)", "(-1,)"),
        ("(1,)", "(1.0,)"),
        ("(1,)", "(1,,)"),
        ("(1,)", "(,)"),
        ("(1,)", "(1 2)"),
        ("(1,)", "(18446744073709551616,)"),
        ("(1,)", "('1',)"),
        ("'shape'", "'shapes'"),
        ("'shape'", "'descr'"),
        ("'shape'", "shape"),
        ("'shape':", "'shape'"),
        ("}", "'more': 1}"),
        ("}", ""),
        ("}", "}}"),
        ("}", "} 1"),
        ("{", "{{}: 1, "),
        ("{", "__import__('os'); {"),
    ] {
        refused(&with_text(&ok.replacen(from, to, 1)));
    }
    let wide = ArrayHeader::new::<u8>(&[1; DIMENSIONS_MAX + 1]);
    assert_eq!(wide.data_bytes().unwrap_err().kind(), ErrorKind::InvalidInput);
    let many = format!("({})", "1,".repeat(DIMENSIONS_MAX + 1));
    refused(&with_text(&ok.replacen("(1,)", &many, 1)));
    let deep = format!("{}{}", "[".repeat(60_000), "]".repeat(5_000));
    refused(&with_text(&ok.replacen("'<f8'", &deep, 1)));
}

#[test]
fn versions_and_lengths_are_checked() {
    let whole = ArrayHeader::new::<f64>(&[3]).encode();
    for version in [[0, 0], [1, 1], [2, 1], [4, 0], [255, 255]] {
        let mut other = whole.clone();
        other[6..8].copy_from_slice(&version);
        assert!(refused(&other).contains(&format!("{}.{}", version[0], version[1])));
    }
    let mut long = [&MAGIC[..], &[2, 0, 255, 255, 255, 255]].concat();
    assert!(refused(&long).contains("too long"));
    long.resize(HEADER_BYTES_MAX + 64, b' ');
    long[8..12].copy_from_slice(&(HEADER_BYTES_MAX as u32).to_le_bytes());
    assert!(refused(&long).contains("dictionary"));
    assert!(refused(&[&MAGIC[..], &[3, 0, 1, 0, 0, 0, 0xff]].concat()).contains("UTF-8"));
}

#[test]
fn sizes_that_cannot_be_are_refused() {
    let header = |descr: &str, shape: &[u64]| ArrayHeader {
        descr: descr.into(),
        fortran_order: false,
        shape: shape.to_vec(),
    };
    for descr in ["", "<", "<f", "f8", "|O", "<q8", "<f8x", "<M8[ns", "<f99999999999", "<é8", "é"]
    {
        let error = header(descr, &[1]).data_bytes().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{descr}");
    }
    for descr in ["[", "[1]", "[('a',)]", "[('a', '|O')]", "[('a', '<f8', 3)]", "(1, 2, 3)", "[]x"]
    {
        assert!(header(descr, &[1]).data_bytes().is_err(), "{descr}");
    }
    let huge = "[('a', '|V4294967295', (4294967295, 4294967295))]";
    assert!(header(huge, &[1]).data_bytes().is_err());
    assert!(header("<f8", &[1 << 61]).data_bytes().is_err());
    assert!(header("<f8", &[1 << 32, 1 << 32]).data_bytes().is_err());
    assert_eq!(header("<f8", &[1 << 40, 0, 1 << 40]).data_bytes().unwrap(), 0);
    assert_eq!(header("('<f8', (2, 3))", &[5]).data_bytes().unwrap(), 240);
}

#[test]
fn data_end_where_the_shape_says() {
    let header = ArrayHeader::new::<u16>(&[3]);
    let mut file = header.encode();
    file.extend([1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(ArrayHeader::split(&file).unwrap(), (header, &[1, 2, 3, 4, 5, 6][..]));
    file.truncate(file.len() - 2);
    let error = ArrayHeader::split(&file).unwrap_err().to_string();
    assert!(error.contains("expected 6 bytes, found 5 bytes"), "{error}");
}

fn literals() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("True".to_owned()),
        any::<u64>().prop_map(|n| n.to_string()),
        "'[^']{0,6}'",
        "['\"\\\\(){}\\[\\],: éδ0-9L]{0,6}",
    ];
    leaf.prop_recursive(4, 40, 5, |inner| {
        let items = prop::collection::vec(inner, 0..5).prop_map(|items| items.join(", "));
        prop_oneof![
            items.clone().prop_map(|items| format!("[{items}]")),
            items.clone().prop_map(|items| format!("({items},)")),
            items.prop_map(|items| format!("{{'a': {items}}}")),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..Default::default() })]

    #[test]
    fn any_bytes_are_a_header_or_an_error(version in 1..=3_u8, text in literals(), bytes: Vec<u8>) {
        let _ = ArrayHeader::parse(&bytes);
        let _ = ArrayHeader::parse(&wrap(version, &bytes));
        let header = format!("{{'descr': {text}, 'fortran_order': False, 'shape': (2, 3)}}");
        let Ok((parsed, _)) = ArrayHeader::parse(&wrap(version, header.as_bytes())) else {
            return Ok(());
        };
        let _ = parsed.data_bytes();
        prop_assert_eq!(ArrayHeader::parse(&parsed.encode()).unwrap().0, parsed);
    }

    #[test]
    fn headers_survive_their_bytes(
        shape in prop::collection::vec(prop_oneof![0..3_u64, any::<u64>()], 0..=64),
        fortran_order: bool,
    ) {
        let header = ArrayHeader { descr: "<f4".into(), fortran_order, shape };
        let bytes = header.encode();
        prop_assert_eq!(bytes.len() % DATA_ALIGN, 0);
        let (parsed, offset) = ArrayHeader::parse(&bytes).unwrap();
        prop_assert_eq!(offset, bytes.len());
        let fortran_order = fortran_order && !header.orders_agree();
        prop_assert_eq!(parsed, ArrayHeader { fortran_order, ..header });
    }

    #[test]
    fn damaged_headers_do_no_harm(at in 0..128_usize, byte: u8) {
        let mut bytes = ArrayHeader::new::<f64>(&[3, 4]).encode();
        bytes[at] = byte;
        if let Ok((header, _)) = ArrayHeader::parse(&bytes) {
            let _ = header.data_bytes();
        }
    }
}
