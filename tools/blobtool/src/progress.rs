//! Progress bars: on a terminal, and only for what takes a while.

use indicatif::{ProgressBar, ProgressStyle};
use std::io::{self, IsTerminal, Read};

/// Below this, a bar would only flicker.
const BYTES_MIN: u64 = 256 << 20;

/// A bar for `bytes`, if there is a terminal and enough to wait for.
pub fn bar(bytes: u64, label: &str) -> Option<ProgressBar> {
    if bytes < BYTES_MIN || !io::stderr().is_terminal() {
        return None;
    }
    let bar = ProgressBar::new(bytes);
    let template = "{msg} [{wide_bar}] {binary_bytes} of {binary_total_bytes}, {binary_bytes_per_sec}, {eta} left";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("=> "));
    }
    bar.set_message(label.to_string());
    Some(bar)
}

/// A reader that moves a bar, if there is one.
pub struct Watched<R> {
    /// What is read.
    pub inner: R,
    /// The bar.
    pub bar: Option<ProgressBar>,
}

impl<R: Read> Read for Watched<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.inner.read(buffer)?;
        if let Some(bar) = &self.bar {
            bar.inc(bytes as u64);
        }
        Ok(bytes)
    }
}

impl<R> Drop for Watched<R> {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
