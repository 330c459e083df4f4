//! What of a model a filter can ask for, and how a value is compared. One line of a table for each name.

use crate::{
    App, Format, Kind, LicenseClass, Model, Safety, SourceKind, State, Verification,
    facts::common_architecture, plan, usage,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    Name,
    Format,
    Kind,
    App,
    Architecture,
    Family,
    Quant,
    State,
    License,
    Spdx,
    LicenseClass,
    Tag,
    Repo,
    Source,
    Base,
    Capability,
    Safety,
    Verification,
    Owner,
    Id,
    Path,
    Fits,
}

pub(super) const FIELDS: &[(&str, Field)] = &[
    ("name", Field::Name),
    ("format", Field::Format),
    ("kind", Field::Kind),
    ("app", Field::App),
    ("arch", Field::Architecture),
    ("architecture", Field::Architecture),
    ("family", Field::Family),
    ("quant", Field::Quant),
    ("state", Field::State),
    ("license", Field::License),
    ("spdx", Field::Spdx),
    ("license-class", Field::LicenseClass),
    ("tag", Field::Tag),
    ("repo", Field::Repo),
    ("source", Field::Source),
    ("base", Field::Base),
    ("can", Field::Capability),
    ("safety", Field::Safety),
    ("verification", Field::Verification),
    ("owner", Field::Owner),
    ("id", Field::Id),
    ("path", Field::Path),
    ("root", Field::Path),
    ("fits", Field::Fits),
];

/// A state is also what stands before it in the list: that loading runs code, that bytes are not those recorded.
fn states(model: &Model) -> impl Iterator<Item = &'static str> {
    let safety = model.safety.filter(|safety| *safety != Safety::TensorsOnly).map(Safety::name);
    let mismatch = Some(model.verification).filter(|told| *told == Verification::Mismatch);
    [Some(model.state.name()), safety, mismatch.map(Verification::name)].into_iter().flatten()
}

impl Field {
    /// Every value that there is; None where anything may stand.
    pub(super) fn closed(self) -> Option<Vec<&'static str>> {
        Some(match self {
            Self::App => App::ALL.iter().map(|app| app.name()).collect(),
            Self::Format => Format::ALL.iter().map(|format| format.name()).collect(),
            Self::Kind => Kind::ALL.iter().map(|kind| kind.name()).collect(),
            Self::State => {
                let listed = State::ALL.iter().filter(|state| **state != State::NotAModel);
                let also =
                    [Safety::Dangerous.name(), Safety::Unverifiable.name(), Verification::Mismatch.name()];
                listed.map(|state| state.name()).chain(also).collect()
            }
            Self::LicenseClass => LicenseClass::ALL.iter().map(|class| class.name()).collect(),
            Self::Source => SourceKind::ALL.iter().map(|kind| kind.name()).collect(),
            Self::Safety => Safety::ALL.iter().map(|safety| safety.name()).collect(),
            Self::Verification => Verification::ALL.iter().map(|told| told.name()).collect(),
            Self::Fits => plan::How::ALL.iter().map(|how| how.name()).collect(),
            Self::Name
            | Self::Architecture
            | Self::Family
            | Self::Quant
            | Self::License
            | Self::Spdx
            | Self::Tag
            | Self::Repo
            | Self::Base
            | Self::Capability
            | Self::Owner
            | Self::Id
            | Self::Path => return None,
        })
    }

    pub(super) fn values(self, model: &Model) -> Vec<&str> {
        let locations = || model.locations.iter();
        let sources = || locations().filter_map(|location| location.source.as_ref());
        match self {
            Self::Name => vec![&model.name],
            Self::Format => model.format.map(|format| format.name()).into_iter().collect(),
            Self::Kind => model.kind.map(|kind| kind.name()).into_iter().collect(),
            Self::App => locations().map(|location| location.app.name()).collect(),
            // As the file has it, and as other formats call it.
            Self::Architecture => {
                model.architecture.iter().flat_map(|name| [name, common_architecture(name)]).collect()
            }
            Self::Family => usage::family(model).into_iter().collect(),
            Self::Quant => model.quant.as_deref().into_iter().collect(),
            Self::State => states(model).collect(),
            Self::License => model.license.as_deref().into_iter().collect(),
            Self::Spdx => model.license_spdx.as_deref().into_iter().collect(),
            Self::LicenseClass => model.license_class.map(|class| class.name()).into_iter().collect(),
            Self::Tag => model.tags.iter().map(String::as_str).collect(),
            Self::Repo => sources().filter_map(|source| source.repo.as_deref()).collect(),
            Self::Source => sources().filter_map(|source| source.kind.map(|kind| kind.name())).collect(),
            Self::Base => model.base_models.iter().map(String::as_str).collect(),
            Self::Capability => model.capabilities.iter().map(String::as_str).collect(),
            Self::Safety => model.safety.map(|safety| safety.name()).into_iter().collect(),
            Self::Verification => vec![model.verification.name()],
            // `user:group`; the user alone will do.
            Self::Owner => locations()
                .filter_map(|location| location.owner.as_deref())
                .flat_map(|owner| [Some(owner), owner.split(':').next()])
                .flatten()
                .collect(),
            Self::Id => vec![&model.id],
            Self::Fits => model.fits.map(|fit| fit.how.name()).into_iter().collect(),
            Self::Path => {
                locations().flat_map(|location| &location.files).map(|file| file.path.text()).collect()
            }
        }
    }
}

/// A condition of one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flag {
    Pinned,
    Duplicate,
    Offline,
    Partial,
    Verified,
    Unverified,
    Used,
    Unused,
    Fits,
}

pub(super) const FLAGS: &[(&str, Flag)] = &[
    ("pinned", Flag::Pinned),
    ("dup", Flag::Duplicate),
    ("offline", Flag::Offline),
    ("partial", Flag::Partial),
    ("verified", Flag::Verified),
    ("unverified", Flag::Unverified),
    ("used", Flag::Used),
    ("unused", Flag::Unused),
    ("fits", Flag::Fits),
];

impl Flag {
    pub(super) fn holds(self, model: &Model) -> bool {
        match self {
            Self::Pinned => model.pinned,
            Self::Duplicate => model.duplicate_group.is_some(),
            // Of some of its places; `state=offline` means all.
            Self::Offline => model.locations.iter().any(|location| !location.online),
            Self::Partial => model.locations.iter().any(|location| location.is_partial),
            Self::Verified => model.verification == Verification::Verified,
            Self::Unverified => model.verification == Verification::Unverified,
            Self::Used => model.last_used.is_some(),
            Self::Unused => model.last_used.is_none(),
            Self::Fits => model.fits.is_some_and(|fit| fit.fits),
        }
    }
}

/// What a value has to be, in lower case; `*` stands for any text and `?` for one character.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern(String);

impl Pattern {
    pub(super) fn new(text: &str) -> Self {
        Self(text.to_lowercase())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What was typed where it is no pattern but a value.
    pub(super) fn value(&self) -> Option<&str> {
        Some(&*self.0).filter(|text| !text.is_empty() && !text.contains(['*', '?']))
    }

    /// A directory stands for all below it.
    pub(super) fn fits(&self, value: &str, field: Field) -> bool {
        if self.0.contains(['*', '?']) {
            return glob(&self.0, value);
        }
        let is_below = || {
            let rest = value.strip_prefix(self.0.trim_end_matches('/'));
            field == Field::Path && rest.is_some_and(|rest| rest.starts_with('/'))
        };
        value == self.0 || is_below()
    }
}

/// Goes back to the last `*` alone, so that hostile patterns cost the product of the lengths at most.
fn glob(pattern: &str, value: &str) -> bool {
    let (mut pattern, mut value) = (pattern.chars(), value.chars());
    let mut retry = None;
    loop {
        match (pattern.next(), value.clone().next()) {
            (Some('*'), _) => retry = Some((pattern.clone(), value.clone())),
            (Some(wanted), Some(found)) if wanted == '?' || wanted == found => drop(value.next()),
            (None, None) => return true,
            _ => {
                let Some((after, mut from)) = retry.take() else { return false };
                if from.next().is_none() {
                    return false;
                }
                (pattern, value) = (after.clone(), from.clone());
                retry = Some((after, from));
            }
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Number {
    Size,
    DiskSize,
    Parameters,
    Context,
    BitsPerWeight,
}

pub(super) const NUMBERS: &[(&str, Number)] = &[
    ("size", Number::Size),
    ("disk", Number::DiskSize),
    ("params", Number::Parameters),
    ("ctx", Number::Context),
    ("bpw", Number::BitsPerWeight),
];

impl Number {
    #[expect(clippy::cast_precision_loss, reason = "compared with a number that a person typed")]
    pub(super) fn value(self, model: &Model) -> Option<f64> {
        match self {
            Self::Size => Some(model.size as f64),
            Self::DiskSize => Some(model.disk_size as f64),
            Self::Parameters => model.parameters.map(|n| n as f64),
            Self::Context => model.context_length.map(|n| n as f64),
            Self::BitsPerWeight => model.bits_per_weight,
        }
    }

    /// Sizes count in 1024s, parameters in 1000s (`7B`), contexts in 1024s (`32k`).
    pub(super) fn quantity(self, text: &str) -> Option<f64> {
        let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let step: f64 = if self == Self::Parameters { 1000.0 } else { 1024.0 };
        let power = match unit.to_ascii_uppercase().trim_end_matches("IB") {
            "" => 0,
            "K" | "KB" => 1,
            "M" | "MB" => 2,
            "G" | "GB" | "B" => 3,
            "T" | "TB" => 4,
            _ => return None,
        };
        number.parse::<f64>().ok().map(|number| number * step.powi(power))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    More,
    AtLeast,
    Less,
    AtMost,
}

impl How {
    pub(super) fn parse(operator: &str) -> Option<Self> {
        match operator {
            ">" => Some(Self::More),
            ">=" => Some(Self::AtLeast),
            "<" => Some(Self::Less),
            "<=" => Some(Self::AtMost),
            _ => None,
        }
    }

    pub(super) fn holds<T: PartialOrd + Copy>(self, value: T, to: T) -> bool {
        match self {
            Self::More => value > to,
            Self::AtLeast => value >= to,
            Self::Less => value < to,
            Self::AtMost => value <= to,
        }
    }
}
