//! What the user said is kept in a database of its own, which may be damaged, older or newer than the index.

use super::*;

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
