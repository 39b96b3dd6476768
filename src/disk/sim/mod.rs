//! A disk in memory that knows what its medium may hold after a power loss.
//!
//! Files live in memory as the page cache would have them. Beside them stands the history of all that
//! was written and synced; from it come the images that a power loss at any moment may leave behind
//! (`history`), and over an image another disk begins. Several processes may share a disk; any of them
//! can die before or inside any of its calls, and its locks go with it.
//!
//! Only for tests.
#![forbid(unsafe_code)]

mod device;
mod file;
mod history;
mod image;
mod state;
mod survival;

pub use device::{Killed, SimDisk};
pub use history::History;
pub use image::Image;
