//! The contract of the command line, held against the real program.
#![forbid(unsafe_code)]

mod bad_input;
mod check;
mod compact;
mod demo;
mod documents;
mod exit_codes;
mod get;
mod interrupt;
mod names;
mod put;
mod removal;
mod tool;
