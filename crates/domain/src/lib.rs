//! What models are, where they live, what engines are told.
//! Decides everything and touches nothing: no IO, no clock, no environment.

mod assemble;
mod bytes;
mod companions;
pub mod doctor;
pub mod duplicates;
pub mod engines;
pub mod facts;
mod family;
pub mod filter;
pub mod hardware;
pub mod hashes;
mod kin;
mod license;
mod lineage;
pub mod memory;
mod model;
pub mod names;
pub mod plan;
pub mod progress;
mod provenance;
pub mod resolve;
mod root;
pub mod safety;
pub mod said;
pub mod stores;
pub mod suggest;
mod tree;
pub mod usage;
mod verdict;
pub mod wrong;

pub use assemble::{OnDisk, Placed, UserData, assemble, facts_of};
pub use bytes::ByteSize;
pub use companions::{Asked, Companion, companions, left_out, likest_first, projector_elsewhere};
pub use family::Family;
pub use hashes::Hashes;
pub use kin::{Kin, Part};
pub use lineage::Ancestor;
pub use model::{
    App, Basis, CompanionRole, Confidence, File, Format, Kind, LicenseClass, Link, Location, Model, Relation,
    Role, Safety, Source, SourceKind, State, Verification, WirePath,
};
pub use progress::Progress;
pub use root::RootStatus;
pub use stores::Hints;
pub use tree::{Tree, TreeNode};
pub use verdict::{Verdict, judge, parts_of, whole_size};
pub(crate) use verdict::{claimed_format, missing_parts};
