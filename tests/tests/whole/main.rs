//! The real daemon and the real client, each in a process of its own, in a house of their own. Every test is a sentence.

mod arrive;
mod crash;
mod databases;
mod duplicates;
mod engines;
mod hardware;
mod identity;
mod images;
mod kernel;
mod launch;
mod launch_ends;
mod odd;
mod plan;
mod refuse;
mod roots;
mod run_ends;
mod runs;
mod said;
mod search;
mod shapes;
mod space;
mod split;
mod start;
mod stores;
mod verify;
mod wire;
