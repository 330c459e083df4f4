//! What the user said is kept in a database of its own, which may be damaged, older or newer than the index.

use super::*;
use crate::index::UserChange;

#[test]
fn a_model_gets_no_new_id_while_it_cannot_be_read_whether_it_has_one() {
    let mut core = settled();
    core.user = User::unreadable().unwrap();
    let file = format!("{ROOT}/a.gguf");
    let now = core.now;
    let error = core.handle(looked(ROOT, &[(&file, 1, State::Ok)], &[]), now).unwrap_err();
    assert!(format!("{error:#}").contains("reading user.db"), "{error:#}");
    core.user = User::in_memory().unwrap();
    assert_eq!(units(&handle(&mut core, Event::Tick)).len(), 2, "it is tried again");
    assert_eq!(published(&handle(&mut core, looked(ROOT, &[(&file, 1, State::Ok)], &[]))).len(), 1);
}

#[test]
fn what_user_db_knows_a_content_as_is_what_the_index_knows_it_as_after_a_start() {
    let mut core = settled();
    let file = format!("{ROOT}/a.gguf");
    let before = published(&handle(&mut core, looked(ROOT, &[(&file, 1, State::Ok)], &[])))[0].1.clone();
    // One that came back from a backup, or from another machine.
    let (key, model, path, at) = (vec![1], "kept".to_owned(), file.into(), core.now);
    let tag = UserChange::Tag { model: model.clone(), add: vec!["mine".into()], remove: Vec::new() };
    core.user.change(&[UserChange::Adopt { key, model, path, at }, tag], at).unwrap();
    let effects = core.reconcile().unwrap();
    let mut events = published(&effects);
    events.sort_by_key(|(_, id, _)| *id != before);
    let expected = [
        (api::EventKind::ModelRemoved, before, State::Ok),
        (api::EventKind::ModelAdded, "kept".to_owned(), State::Ok),
    ];
    assert_eq!(events, expected);
    let model = core.index.refresh("kept", core.user.data("kept").unwrap(), &|_, _| Ok(None)).unwrap();
    let crate::index::Refreshed::Same(model) = model else { panic!("{model:?}") };
    assert_eq!(model.tags, ["mine"]);
    assert_eq!(published(&core.reconcile().unwrap()), []);
}
