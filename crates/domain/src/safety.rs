//! Whether a model is safe enough to start an engine on it. Knows no engine: one that would not load the file in
//! question today may do so in its next version.

use crate::{Model, Role, Safety, plan::Refusal};

impl Safety {
    /// Returns the one that a loader of all of them would meet.
    pub fn worst(all: impl Iterator<Item = Self>) -> Option<Self> {
        all.max_by_key(|safety| match safety {
            Self::TensorsOnly => 0,
            Self::Unverifiable => 1,
            Self::Dangerous => 2,
        })
    }

    /// What to do instead of loading it.
    pub const INSTEAD: &str =
        "get the same model as safetensors, or convert it on a machine where it can do no harm";
}

/// Refuses what runs code when it is loaded. Returns a caution for what nobody can vouch for.
pub fn check(model: &Model) -> Result<Option<String>, Refusal> {
    let why = |what: &str| {
        let weights = model.locations.iter().flat_map(|location| &location.files);
        let path = weights.filter(|file| file.role == Role::Weights).map(|file| file.path.text()).next();
        let names = model.warnings.iter().find_map(|warning| warning.split_once(REACHES));
        let found = match (path, names) {
            (Some(path), Some((_, names))) => format!(": {path} reaches {names}"),
            (Some(path), None) => format!(": {path}"),
            (None, _) => String::new(),
        };
        format!("{} {what}{found}", model.name)
    };
    match model.safety {
        None | Some(Safety::TensorsOnly) => Ok(None),
        Some(Safety::Unverifiable) => {
            Ok(Some(why("may run code when it is loaded, which cannot be ruled out")))
        }
        Some(Safety::Dangerous) => {
            let hint = format!(
                "{}; modelctl inspect shows what is in a file; --allow-unsafe starts it this once",
                Safety::INSTEAD
            );
            Err(Refusal { why: why("runs code when it is loaded"), hint: Some(hint) })
        }
    }
}

/// Says what loading it does, where it runs code.
pub fn danger(model: &Model) -> Option<String> {
    model.safety.filter(|safety| *safety == Safety::Dangerous)?;
    let names = model.warnings.iter().find_map(|warning| Some(warning.split_once(REACHES)?.1));
    Some(format!("loading it runs code{}", names.map_or_else(String::new, |names| format!(": {names}"))))
}

/// What stands in warnings before the names that loading reaches.
pub(crate) const REACHES: &str = ": it reaches ";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_of_several_counts() {
        let worst = |all: &[Safety]| Safety::worst(all.iter().copied());
        assert_eq!(worst(&[]), None);
        assert_eq!(worst(&[Safety::TensorsOnly, Safety::Unverifiable]), Some(Safety::Unverifiable));
        assert_eq!(worst(&[Safety::Dangerous, Safety::Unverifiable]), Some(Safety::Dangerous));
    }
}
