//! Quantities as people write and read them: sizes, ranges of bytes, moments.

use std::str::FromStr;
use std::time::{SystemTime, UNIX_EPOCH};

/// A number of bytes, written `4096`, `64K`, `1.5G`, `2GiB`: suffixes are powers of 1024.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size(pub u64);

impl FromStr for Size {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("expected bytes such as 4096, 64K, 1.5G or 2GiB, found {text:?}");
        let digits = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
        let (number, suffix) = text.split_at(digits);
        let letter = suffix.strip_suffix("iB").or(suffix.strip_suffix('B')).unwrap_or(suffix);
        let power = match letter.to_ascii_uppercase().as_str() {
            "" => 0,
            "K" => 1,
            "M" => 2,
            "G" => 3,
            "T" => 4,
            _ => return Err(wrong()),
        };
        let unit = 1u64 << (10 * power);
        if let Ok(whole) = number.parse::<u64>() {
            return whole.checked_mul(unit).map(Self).ok_or_else(wrong);
        }
        let is_plain = |c: char| c.is_ascii_digit() || c == '.';
        let number = number.chars().all(is_plain).then(|| number.parse::<f64>().ok()).flatten();
        let bytes = number.ok_or_else(wrong)? * unit as f64;
        if bytes < u64::MAX as f64 && power > 0 { Ok(Self(bytes as u64)) } else { Err(wrong()) }
    }
}

/// The bytes from `begin` up to, not including, `end`; written `A-B`, or `A-` to the end. Half-open,
/// so that `0-1M` is one mebibyte and `1M-2M` the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteRange {
    /// The first byte.
    pub begin: u64,
    /// The byte behind the last one; `None` is the end.
    pub end: Option<u64>,
}

impl FromStr for ByteRange {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let Some((begin, end)) = text.split_once('-') else {
            return Err(format!("expected A-B (B is not included) or A-, found {text:?}"));
        };
        let begin = begin.parse::<Size>()?.0;
        let end = if end.is_empty() { None } else { Some(end.parse::<Size>()?.0) };
        match end {
            Some(end) if end < begin => Err(format!("{text:?} ends before it begins")),
            _ => Ok(Self { begin, end }),
        }
    }
}

impl ByteRange {
    /// The part of a blob of `len` bytes; an end behind the blob's is the blob's.
    ///
    /// # Errors
    /// What to say, if it begins behind the end.
    pub fn within(self, len: u64) -> Result<std::ops::Range<u64>, String> {
        if self.begin > len {
            return Err(format!("the range begins at {}, the blob has {len} bytes", self.begin));
        }
        Ok(self.begin..self.end.map_or(len, |end| end.min(len)))
    }
}

/// A share, written `0.3` or `30%`.
///
/// # Errors
/// What to say, if it is none from 0 to 1.
pub fn share(text: &str) -> Result<f64, String> {
    let number = match text.strip_suffix('%') {
        Some(percent) => percent.parse::<f64>().map(|percent| percent / 100.0),
        None => text.parse::<f64>(),
    };
    let share = number.ok().filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| format!("expected a share such as 0.3 or 30%, found {text:?}"))
}

/// Bytes a second, written as a size; 0 would be for ever.
///
/// # Errors
/// What to say, if it is none.
pub fn rate(text: &str) -> Result<Size, String> {
    match text.parse::<Size>()? {
        Size(0) => Err("expected at least one byte a second; leave it out for no limit".into()),
        size => Ok(size),
    }
}

/// `bytes` as a person reads it: `1.50 GiB`.
pub fn human_bytes(bytes: u64) -> String {
    const NAMES: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    let (mut value, mut unit) = (bytes as f64 / 1024.0, 0);
    while value >= 1024.0 && unit + 1 < NAMES.len() {
        (value, unit) = (value / 1024.0, unit + 1);
    }
    if bytes < 1024 { format!("{bytes} B") } else { format!("{value:.2} {}", NAMES[unit]) }
}

/// A count with its thousands apart: `1 234 567`.
pub fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut grouped = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(' ');
        }
        grouped.push(digit);
    }
    grouped
}

/// A moment as `2026-05-04T03:02:01Z`.
pub fn moment(time: SystemTime) -> String {
    let seconds = time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// Year, month and day of a day since 1970, by Howard Hinnant's algorithm: years begin in March, so
/// that the leap day is the last one.
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (era * 400 + year + next, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn sizes_are_read() {
        for (text, bytes) in [
            ("0", 0),
            ("4096", 4096),
            ("64K", 64 << 10),
            ("64k", 64 << 10),
            ("2GiB", 2 << 30),
            ("1.5M", 3 << 19),
            ("7B", 7),
        ] {
            assert_eq!(text.parse(), Ok(Size(bytes)), "{text}");
        }
        for text in ["", "K", "-1", "1X", "1.5", "16777216T", "1e3", "infG", "1 K", "é"] {
            assert!(text.parse::<Size>().is_err(), "{text}");
        }
    }

    #[test]
    fn ranges_are_half_open_and_clipped() {
        let range: ByteRange = "1K-2K".parse().unwrap();
        assert_eq!((range.within(5000), range.within(1500)), (Ok(1024..2048), Ok(1024..1500)));
        assert_eq!(range.within(1024), Ok(1024..1024));
        assert!(range.within(1023).is_err());
        assert_eq!("3-".parse::<ByteRange>().unwrap().within(10), Ok(3..10));
        for text in ["", "5", "-5", "7-3", "a-b", "1-2-3"] {
            assert!(text.parse::<ByteRange>().is_err(), "{text}");
        }
    }

    #[test]
    fn quantities_read_well() {
        assert_eq!((human_bytes(7).as_str(), human_bytes(3 << 29).as_str()), ("7 B", "1.50 GiB"));
        assert_eq!((grouped(7).as_str(), grouped(1_234_567).as_str()), ("7", "1 234 567"));
    }

    #[test]
    fn moments_are_those_of_the_calendar() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_709_251_199, "2024-02-29T23:59:59Z"),
            (4_102_444_800, "2100-01-01T00:00:00Z"),
        ] {
            assert_eq!(moment(UNIX_EPOCH + Duration::from_secs(seconds)), text);
        }
    }
}
