//! The verbs, a file each.

pub mod compact;
pub mod fsck;
pub mod get;
pub mod info;
pub mod init;
pub mod ls;
pub mod manual;
pub mod put;
pub mod rm;
pub mod stat;
