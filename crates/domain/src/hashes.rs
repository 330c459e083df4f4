//! What full hashes of files say: whether a file is what its source recorded, which models share their weights, what
//! is worth hashing first. Never takes a recorded hash for one that was computed.

use crate::{File, Link, Model, Placed, Role, Verification, assemble::one_weight};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Where the bytes of AutoV1 start, and how many they are (Stable Diffusion web UI, `modules/hashes.py`).
pub const AUTOV1: std::ops::Range<u64> = 0x10_0000..0x11_0000;

/// What SHA-256 makes of nothing: tools write its start where they had nothing to hash.
const OF_NOTHING: &str = "e3b0c442";

/// Returns a SHA-256 as 64 lower-case hex digits.
pub(crate) fn sha256(text: &str) -> Option<String> {
    (text.len() == 64 && text.bytes().all(|digit| digit.is_ascii_hexdigit()))
        .then(|| text.to_ascii_lowercase())
}

/// Hashes of a whole file, as they were computed here; lower-case hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hashes {
    pub sha256: String,
    /// SHA-256 of all bytes behind the header; None where there is no header, or nothing behind it.
    pub tensors: Option<String>,
    /// CivitAI's names of a file: the first 8 digits of the SHA-256 of 64 KiB at 1 MiB; None where the file ends before.
    pub autov1: Option<String>,
    /// The first 10 digits of `sha256`.
    pub autov2: Option<String>,
    /// The first 12 digits of `tensors`, of a safetensors only.
    pub autov3: Option<String>,
}

/// SHA-256 of parts of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Digests {
    pub whole: [u8; 32],
    /// Of what lies behind the header.
    pub tensors: Option<[u8; 32]>,
    /// Of what lies in `AUTOV1`.
    pub autov1: [u8; 32],
}

impl Hashes {
    pub fn new(digests: &Digests, is_safetensors: bool) -> Self {
        let start = |text: &str, digits: usize| text.get(..digits).map(str::to_owned);
        let of_some = |digest: &[u8; 32]| Some(hex(digest)).filter(|text| !text.starts_with(OF_NOTHING));
        let sha256 = hex(&digests.whole);
        let tensors = digests.tensors.as_ref().and_then(of_some);
        Self {
            autov1: of_some(&digests.autov1).and_then(|text| start(&text, 8)),
            autov2: start(&sha256, 10),
            autov3: tensors.as_deref().filter(|_| is_safetensors).and_then(|tensors| start(tensors, 12)),
            sha256,
            tensors,
        }
    }
}

fn hex(digest: &[u8; 32]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl File {
    /// Takes what was computed of its bytes for what they are, and keeps what its source recorded.
    pub fn put_hashes(&mut self, hashes: Hashes) {
        let recorded = self.recorded_sha256().cloned();
        self.sha256 = Some(hashes.sha256.clone());
        (self.recorded, self.hashes) = (recorded, Some(hashes));
    }

    /// SHA-256 as its source recorded it.
    pub fn recorded_sha256(&self) -> Option<&String> {
        if self.hashes.is_some() { self.recorded.as_ref() } else { self.sha256.as_ref() }
    }

    /// Whether its bytes are those that its source recorded.
    pub fn verification(&self) -> Verification {
        match (self.recorded_sha256(), &self.hashes) {
            (Some(recorded), Some(hashes)) if recorded.eq_ignore_ascii_case(&hashes.sha256) => {
                Verification::Verified
            }
            (Some(_), Some(_)) => Verification::Mismatch,
            (None, _) | (_, None) => Verification::Unverified,
        }
    }

    /// Whether it is a file whose bytes matter to who loads the model, and is there.
    pub fn is_hashed(&self) -> bool {
        matches!(self.role, Role::Weights | Role::Companion | Role::Adapter)
            && self.link != Some(Link::Dangling)
    }
}

/// What the hashes of all files of a model say together.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Summary {
    /// Of the one weight file, computed, else recorded.
    pub(crate) sha256: Option<String>,
    pub(crate) is_verified: bool,
    /// Files that are not what their source recorded, one sentence each.
    pub(crate) mismatches: Vec<String>,
    /// Copies that pass for the same content, and are not.
    pub(crate) differing: Option<String>,
}

impl Summary {
    pub(crate) fn of(placed: &[Placed]) -> Self {
        let files = || placed.iter().flat_map(|place| &place.location.files).filter(|file| file.is_hashed());
        let weights = || files().filter(|file| file.role == Role::Weights);
        let recorded: BTreeSet<String> =
            weights().filter_map(|file| Some(file.recorded_sha256()?.to_ascii_lowercase())).collect();
        // A copy without a record is what it should be when another place has recorded its bytes.
        let is_recorded =
            |file: &File| file.hashes.as_ref().is_some_and(|hashes| recorded.contains(&hashes.sha256));
        let mismatches: BTreeSet<String> = files().filter_map(mismatch).collect();
        let one = || placed.iter().filter_map(|place| one_weight(&place.location));
        let computed = one().find_map(|file| Some(file.hashes.as_ref()?.sha256.clone()));
        Self {
            sha256: computed.or_else(|| one().find_map(|file| file.sha256.clone())),
            is_verified: weights().next().is_some() && weights().all(is_recorded) && mismatches.is_empty(),
            mismatches: mismatches.into_iter().collect(),
            differing: differing(placed),
        }
    }

    pub(crate) fn verification(&self) -> Verification {
        match (self.mismatches.is_empty(), self.is_verified) {
            (false, _) => Verification::Mismatch,
            (true, true) => Verification::Verified,
            (true, false) => Verification::Unverified,
        }
    }
}

fn mismatch(file: &File) -> Option<String> {
    let (recorded, hashes) = (file.recorded_sha256()?, file.hashes.as_ref()?);
    (file.verification() == Verification::Mismatch).then(|| {
        format!(
            "{} is not what its source recorded: its SHA-256 is {}, recorded was {recorded}",
            file.path.text(),
            hashes.sha256
        )
    })
}

/// Copies of one weight file are told apart by full hashes where both are known.
fn differing(placed: &[Placed]) -> Option<String> {
    let mut known = placed.iter().filter_map(|place| {
        let file = one_weight(&place.location)?;
        Some((&file.hashes.as_ref()?.sha256, file.path.text()))
    });
    let (first, path) = known.next()?;
    let (_, other) = known.find(|(sha256, _)| *sha256 != first)?;
    Some(format!("{path} and {other} begin and end alike, and are not the same: their SHA-256 differ"))
}

/// A file that waits to be hashed in the background.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    pub model: String,
    pub name: String,
    pub file: File,
    /// The same content seems to lie elsewhere too: only a full hash makes that certain.
    is_copy: bool,
}

/// LoRAs, embeddings and the like, of which many have passed through many hands, bytes.
const SMALL: u64 = 1 << 30;

impl Waiting {
    /// The files of a usable model that have no hash yet.
    pub fn of(model: &Model) -> impl Iterator<Item = Self> {
        let places = model.locations.iter().filter(|place| place.online && model.state.is_usable());
        let files = places.flat_map(|place| &place.files);
        files.filter(|file| file.is_hashed() && file.hashes.is_none()).map(|file| Self {
            model: model.id.clone(),
            name: model.name.clone(),
            file: file.clone(),
            is_copy: model.duplicate_group.is_some(),
        })
    }

    /// What tells most comes first, and of that what takes least.
    pub fn urgency(&self) -> (bool, bool, bool, u64) {
        let size = self.file.size;
        (self.file.recorded_sha256().is_none(), !self.is_copy, size > SMALL, size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        App, Hints,
        model::testing::{location, weights},
    };

    const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

    fn place(files: &[(&str, Option<&str>, Option<&str>)]) -> Placed {
        let hashes = |sha256: &str| Hashes {
            sha256: sha256.to_owned(),
            tensors: None,
            autov1: None,
            autov2: None,
            autov3: None,
        };
        let file = |(path, recorded, computed): &(&str, Option<&str>, Option<&str>)| {
            let mut file = File { sha256: recorded.map(str::to_owned), ..weights(path) };
            computed.map(hashes).into_iter().for_each(|hashes| file.put_hashes(hashes));
            file
        };
        let location = location(App::Loose, "m", files.iter().map(file).collect());
        Placed {
            location,
            on_disk: Vec::new(),
            lineage: Vec::new(),
            base_models: Vec::new(),
            hints: Hints::default(),
            verdicts: Vec::new(),
        }
    }

    #[track_caller]
    fn check(placed: &[Placed], expected: Verification) -> Summary {
        let summary = Summary::of(placed);
        assert_eq!(summary.verification(), expected, "{summary:?}");
        summary
    }

    #[test]
    fn verified_is_what_all_weights_were_recorded_as() {
        use Verification::{Mismatch, Unverified, Verified};
        check(&[place(&[])], Unverified);
        check(&[place(&[("/a", Some(A), None)])], Unverified);
        check(&[place(&[("/a", None, Some(A))])], Unverified);
        check(&[place(&[("/a", Some(A), Some(A))])], Verified);
        check(&[place(&[("/a", Some(&A.to_uppercase()), Some(A))])], Verified);
        check(&[place(&[("/a", Some(A), Some(A)), ("/b", Some(B), None)])], Unverified);
        check(&[place(&[("/a", Some(A), Some(A)), ("/b", Some(B), Some(B))])], Verified);
        let told = check(&[place(&[("/a", Some(A), Some(A)), ("/b", Some(B), Some(A))])], Mismatch);
        assert!(told.mismatches[0].starts_with("/b is not what"), "{told:?}");
        // A copy of which nothing was recorded.
        check(&[place(&[("/a", Some(A), Some(A))]), place(&[("/c", None, Some(A))])], Verified);
        let told = check(&[place(&[("/a", Some(A), Some(A))]), place(&[("/c", None, Some(B))])], Unverified);
        assert!(told.differing.is_some_and(|differing| differing.contains("/c")));
        assert_eq!(told.sha256.as_deref(), Some(A));
        // Two sources that disagree: one of them is wrong.
        check(&[place(&[("/a", Some(A), Some(A))]), place(&[("/a", Some(B), Some(A))])], Mismatch);
    }

    #[test]
    fn hashes_are_named_as_civitai_names_them() {
        let nothing = [
            0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24,
            0x27, 0xae, 0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
        ];
        let digests = Digests { whole: [0xab; 32], tensors: Some([0xcd; 32]), autov1: [0xef; 32] };
        let hashes = Hashes::new(&digests, true);
        let short = |text: &Option<String>| text.clone().unwrap_or_default();
        assert_eq!(hashes.sha256, "ab".repeat(32));
        assert_eq!(short(&hashes.autov1), "efefefef");
        assert_eq!(short(&hashes.autov2), "ababababab");
        assert_eq!(short(&hashes.autov3), "cdcdcdcdcdcd");
        assert_eq!(Hashes::new(&digests, false).autov3, None);
        let empty = Hashes::new(&Digests { tensors: Some(nothing), autov1: nothing, ..digests }, true);
        assert_eq!((empty.tensors, empty.autov3, empty.autov1), (None, None, None));
    }
}
