//! `modeld`: watches every model directory, keeps the index, starts engines. Everything that touches the world is
//! in this package, and everything that decides is in `domain`.

mod cache;
pub mod config;
mod confirm;
pub mod core;
mod discover;
mod engine;
mod engines;
mod extents;
mod fault;
mod fits;
mod hardware;
mod hash;
mod heap;
pub mod index;
mod lock;
mod look;
mod mounts;
mod process;
mod read;
mod remember;
mod run;
mod rundir;
mod runs;
pub mod seats;
mod serve;
mod suggest;
mod supervise;
mod verify;
mod volume;
mod watch;
mod work;

pub use config::Config;
pub use heap::be_frugal;
pub use lock::Held;
pub use run::run;
pub use supervise::beside_an_engine;
