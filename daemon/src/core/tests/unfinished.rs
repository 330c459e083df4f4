//! What is cut short is the model that it was, unless that lies whole at another place.

use super::*;
use crate::index::UserChange;

fn paths() -> [String; 2] {
    [format!("{ROOT}/a.gguf"), format!("{OTHER}/later.gguf")]
}

/// What user.db is told at last of which model a content is.
fn adopted(effects: &[Effect], content: u8) -> Option<String> {
    let adopted = |effect: &Effect| {
        let Effect::Remember(UserChange::Adopt { key, model, .. }) = effect else { return None };
        (*key == [content]).then(|| model.clone())
    };
    effects.iter().filter_map(adopted).next_back()
}

fn adopt(core: &mut Core, key: u8, model: &str) {
    let (path, at) = (PathBuf::new(), core.now);
    let change = UserChange::Adopt { key: vec![key], model: model.into(), path, at };
    core.user.change(&[change], at).unwrap();
}

#[test]
fn a_copy_that_is_cut_short_is_a_model_of_its_own_and_the_only_place_is_not() {
    use api::EventKind::{ModelAdded, ModelChanged};
    let (mut core, [first, later]) = (settled(), paths());
    let id = published(&handle(&mut core, looked(ROOT, &[(&first, 1, State::Ok)], &[])))[0].1.clone();
    handle(&mut core, looked(OTHER, &[(&later, 1, State::Ok)], &[]));
    let effects = handle(&mut core, looked(OTHER, &[(&later, 2, State::Incomplete)], &[]));
    let [(changed, same, state), (added, own, cut)] = published(&effects).try_into().unwrap();
    assert_eq!((changed, &same, state), (ModelChanged, &id, State::Ok));
    assert_eq!((added, cut), (ModelAdded, State::Incomplete));
    assert_ne!(own, id);
    assert_eq!(adopted(&effects, 2), Some(own));
    assert_eq!(published(&core.reconcile().unwrap()), []);
    // The one that is whole is cut short as well: there is no other place of it.
    let effects = handle(&mut core, looked(ROOT, &[(&first, 3, State::Incomplete)], &[]));
    assert_eq!(published(&effects), [(ModelChanged, id, State::Incomplete)]);
}

#[test]
fn what_user_db_takes_for_a_model_is_none_of_it_once_that_is_seen_whole_elsewhere() {
    let (mut core, [first, later]) = (settled(), paths());
    adopt(&mut core, 1, "good");
    adopt(&mut core, 2, "good");
    let effects = handle(&mut core, looked(OTHER, &[(&later, 2, State::Incomplete)], &[]));
    assert_eq!(published(&effects)[0].1, "good", "it may be that one, and is the only place");
    let effects = handle(&mut core, looked(ROOT, &[(&first, 1, State::Ok)], &[]));
    let own = adopted(&effects, 2).unwrap();
    assert_ne!(own, "good");
    adopt(&mut core, 2, &own);
    assert_eq!(core.user.model_of(&[2]).unwrap(), Some(own));
}

#[test]
fn an_index_that_has_both_as_one_parts_them_at_the_start() {
    let (mut core, [first, later]) = (settled(), paths());
    handle(&mut core, looked(OTHER, &[(&later, 2, State::Incomplete)], &[]));
    let id = published(&handle(&mut core, looked(ROOT, &[(&first, 1, State::Ok)], &[])))[0].1.clone();
    let parted = core.index.contents().unwrap().into_iter().find(|(key, _)| *key == [2]).unwrap().1;
    core.index.rename_content(&[2], &parted, &id).unwrap();
    let own = adopted(&core.reconcile().unwrap(), 2).unwrap();
    assert!(own != id && own != parted, "{own}");
}
