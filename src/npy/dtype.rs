//! Element types: NumPy's `dtype.str`, and the lists that structured types are.
#![forbid(unsafe_code)]

use super::literal::{self, Literal};
use crate::error::{Error, ErrorKind, Result};

/// Whether a `descr` is the text of a literal (a structured type), not that of a simple type.
pub(super) fn is_literal(descr: &str) -> bool {
    descr.starts_with(['[', '('])
}

/// The `descr` that a header carries; `None` for what cannot be one.
pub(super) fn descr(value: &Literal) -> Option<String> {
    match value {
        Literal::Text(text) => {
            let plain = text.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'\'' | b'\\'));
            (plain && !is_literal(text)).then(|| (*text).to_owned())
        }
        Literal::List(_, source) | Literal::Tuple(_, source) => Some((*source).to_owned()),
        _ => None,
    }
}

/// The shape that a tuple of numbers is.
pub(super) fn shape(value: &Literal) -> Option<Vec<u64>> {
    let Literal::Tuple(items, _) = value else { return None };
    let extent = |item: &Literal| match item {
        Literal::Number(extent) => Some(*extent),
        _ => None,
    };
    items.iter().map(extent).collect()
}

/// Number of elements; `None` above 2^64. A zero anywhere makes it zero.
pub(super) fn product(shape: &[u64]) -> Option<u64> {
    if shape.contains(&0) {
        return Some(0);
    }
    shape.iter().try_fold(1_u64, |product, &extent| product.checked_mul(extent))
}

/// Bytes of an element.
pub(super) fn item_bytes(descr: &str) -> Result<u64> {
    let bytes = if is_literal(descr) {
        literal::parse(descr).and_then(|literal| structure_bytes(&literal))
    } else {
        simple_bytes(descr)
    };
    bytes.ok_or_else(|| {
        Error::new(ErrorKind::InvalidInput, "elements of this type have no known, fixed size")
            .expected("a dtype.str as <f8, |b1, <M8[ns], |S16, or a list of fields of such types")
            .found(super::excerpt(descr))
    })
}

fn structure_bytes(literal: &Literal) -> Option<u64> {
    match literal {
        Literal::Text(text) => simple_bytes(text),
        Literal::List(fields, _) => {
            let mut sizes = fields.iter().map(field_bytes);
            sizes.try_fold(0_u64, |sum, bytes| sum.checked_add(bytes?))
        }
        // A type and how often it stands in a row.
        Literal::Tuple(parts, _) => match &parts[..] {
            [of, repeats] => repeated(of, repeats),
            _ => None,
        },
        _ => None,
    }
}

/// A field: name (or title and name), type, and perhaps a shape.
fn field_bytes(field: &Literal) -> Option<u64> {
    let Literal::Tuple(parts, _) = field else { return None };
    match &parts[..] {
        [Literal::Text(_) | Literal::Tuple(..), of] => structure_bytes(of),
        [Literal::Text(_) | Literal::Tuple(..), of, repeats] => repeated(of, repeats),
        _ => None,
    }
}

fn repeated(of: &Literal, repeats: &Literal) -> Option<u64> {
    structure_bytes(of)?.checked_mul(product(&shape(repeats)?)?)
}

/// `<f8`: byte order, kind, size; times have a unit behind it, and `U` counts characters of four bytes.
fn simple_bytes(descr: &str) -> Option<u64> {
    let rest = descr.strip_prefix(['<', '>', '|', '='])?;
    let kind = rest.chars().next()?;
    let rest = rest.get(1..)?;
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let (size, unit) = rest.split_at(digits);
    let size: u32 = size.parse().ok()?;
    let is_whole = match kind {
        'b' | 'i' | 'u' | 'f' | 'c' | 'S' | 'U' | 'V' => unit.is_empty(),
        'm' | 'M' => unit.is_empty() || unit.starts_with('[') && unit.ends_with(']'),
        _ => false,
    };
    is_whole.then_some(u64::from(size) * if kind == 'U' { 4 } else { 1 })
}
