use super::*;
use crate::model::testing::weights;

fn holder(model: &str, path: &str, inode: u64, link: Option<Link>) -> Holder {
    let file = File { size: 4000, link, ..weights(path) };
    Holder {
        model: ModelName { id: model.into(), name: model.into() },
        app: App::Loose,
        handle: path.into(),
        repo: None,
        owner: None,
        online: true,
        file,
        on_disk: OnDisk { volume: "v".into(), inode, disk_size: 4096, links: 1 },
        beside: Vec::new(),
        sampled: vec![0xab, 1],
        computed: None,
        tensors: None,
        target: None,
        extents: None,
    }
}

fn recorded(holder: Holder, hash: &str) -> Holder {
    let file = File { sha256: Some(hash.into()), ..holder.file };
    Holder { file, ..holder }
}

/// Kind, name, whether it is certain, bytes to win, and paths of each group.
#[track_caller]
fn check(holders: &[Holder], expected: &[(Sameness, &str, bool, u64, &[&str])]) {
    let groups = groups(holders);
    let paths = |group: &Group| -> Vec<String> {
        group.copies.iter().map(|copy| copy.path.text().to_owned()).collect()
    };
    let all: Vec<Vec<String>> = groups.iter().map(paths).collect();
    let all: Vec<Vec<&str>> = all.iter().map(|paths| paths.iter().map(String::as_str).collect()).collect();
    let found: Vec<_> = groups
        .iter()
        .zip(&all)
        .map(|(g, paths)| (g.kind, &*g.group, g.certain, g.reclaimable, paths.as_slice()))
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn each_inode_counts_once_and_one_copy_stays() {
    use Sameness::Exact;
    let a = || holder("m", "/a", 1, None);
    let b = || holder("m", "/b", 2, None);
    check(&[a()], &[]);
    check(&[a(), a()], &[]);
    check(&[a(), b()], &[(Exact, "sampled:ab01", false, 4096, &["/a", "/b"])]);
    let link = holder("m", "/l", 1, Some(Link::Symlink));
    check(&[a(), link.clone()], &[(Exact, "sampled:ab01", true, 0, &["/a", "/l"])]);
    let three = [a(), b(), holder("n", "/c", 3, None), link];
    check(&three, &[(Exact, "sampled:ab01", false, 8192, &["/a", "/b", "/c", "/l"])]);
    let away = Holder { online: false, ..b() };
    check(&[a(), away], &[(Exact, "sampled:ab01", false, 0, &["/a", "/b"])]);
}

#[test]
fn what_a_hard_link_elsewhere_keeps_alive_frees_nothing() {
    use Sameness::Exact;
    let twice = |holder: Holder| Holder { on_disk: OnDisk { links: 2, ..holder.on_disk }, ..holder };
    let [a, b] =
        [("/a", 1), ("/b", 1)].map(|(path, inode)| twice(holder("m", path, inode, Some(Link::Hardlink))));
    let c = holder("m", "/c", 2, None);
    // Both names of the first inode are known.
    check(&[a.clone(), b, c.clone()], &[(Exact, "sampled:ab01", false, 4096, &["/a", "/b", "/c"])]);
    // One is not: that copy stays, the other may go.
    check(&[a.clone(), c], &[(Exact, "sampled:ab01", false, 4096, &["/a", "/c"])]);
    let d = twice(holder("m", "/d", 3, Some(Link::Hardlink)));
    check(&[a.clone(), d.clone()], &[(Exact, "sampled:ab01", false, 0, &["/a", "/d"])]);
    assert!(groups(&[a, d])[0].copies.iter().all(|copy| copy.held_elsewhere));
    // A link leads to a blob that has another name, which is known.
    let blob = Holder { target: Some("/blob".into()), ..twice(holder("m", "/s", 4, Some(Link::Symlink))) };
    let other = twice(holder("m", "/o", 4, Some(Link::Hardlink)));
    let e = holder("m", "/e", 5, None);
    check(&[blob, other, e], &[(Exact, "sampled:ab01", false, 4096, &["/s", "/o", "/e"])]);
}

#[test]
fn a_hash_that_is_known_names_all_and_two_that_differ_part_them() {
    use Sameness::Exact;
    let [a, b, c] = [("/a", 1), ("/b", 2), ("/c", 3)].map(|(path, inode)| holder("m", path, inode, None));
    let known = recorded(a, "FF00");
    check(&[known.clone(), b.clone()], &[(Exact, "ff00", false, 4096, &["/a", "/b"])]);
    let both = [known.clone(), recorded(b.clone(), "ff00")];
    check(&both, &[(Exact, "ff00", true, 4096, &["/a", "/b"])]);
    check(&[known.clone(), recorded(b.clone(), "ee00")], &[]);
    // What was computed counts, whatever an app wrote down.
    let computed = Holder { computed: Some("ee00".into()), ..recorded(b, "ff00") };
    check(&[known.clone(), computed.clone()], &[]);
    let also = Holder { computed: Some("ee00".into()), ..c };
    check(&[known, computed, also], &[(Exact, "ee00", true, 4096, &["/b", "/c"])]);
}

#[test]
fn copies_whose_metadata_was_edited_are_told_by_their_tensors() {
    let of = |path, inode, sampled: u8| Holder {
        sampled: vec![sampled],
        tensors: Some("7e".into()),
        ..holder("m", path, inode, None)
    };
    let [a, copy, edited] = [of("/a", 1, 1), of("/copy", 2, 1), of("/edited", 3, 2)];
    check(&[a.clone(), edited.clone()], &[(Sameness::SameWeights, "7e", true, 4096, &["/a", "/edited"])]);
    let found = [a, copy, edited];
    let exact: (_, _, _, _, &[&str]) = (Sameness::Exact, "sampled:01", false, 4096, &["/a", "/copy"]);
    let same: (_, _, _, _, &[&str]) = (Sameness::SameWeights, "7e", true, 4096, &["/a", "/copy", "/edited"]);
    check(&found, &[exact, same]);
}

#[test]
fn an_app_is_asked_to_remove_what_it_holds() {
    for (app, handle, repo, expected) in [
        (App::Ollama, "llama3:8b", None, Some("ollama rm llama3:8b")),
        (App::Ollama, "a b;c", None, Some("ollama rm 'a b;c'")),
        (App::HuggingFace, "o/r@1:f", Some("o/r"), Some("hf cache rm model/o/r")),
        (App::HuggingFace, "o/r@1:f", None, None),
        (App::LmStudio, "o/r", None, Some("in lmstudio itself")),
        (App::Loose, "models/a.gguf", None, None),
    ] {
        let file = Holder {
            app,
            handle: handle.into(),
            repo: repo.map(str::to_owned),
            ..holder("m", "/a", 1, None)
        };
        assert_eq!(removal::way(&file, &[&file], false), (expected.map(str::to_owned), None));
    }
}

#[test]
fn a_command_that_removes_more_or_frees_nothing_is_none() {
    let of = |app, handle: &str, repo: Option<&str>, inode| Holder {
        app,
        handle: handle.into(),
        repo: repo.map(str::to_owned),
        ..holder("m", "/blob", inode, None)
    };
    #[track_caller]
    fn check(held: &[Holder], elsewhere: bool, expected: Result<&str, &str>) {
        let all: Vec<&Holder> = held.iter().collect();
        let (remove, note) = removal::way(&held[0], &all, elsewhere);
        let expected = (expected.ok().map(str::to_owned), expected.err().map(str::to_owned));
        assert_eq!((remove, note), expected);
    }
    let hub = |revision: &str| of(App::HuggingFace, revision, Some("o/r"), 1);
    check(&[hub("o/r@1:f"), hub("o/r@2:f")], false, Ok("hf cache rm model/o/r"));
    let beside =
        ["/s/r-Q4_K_M.gguf", "/s/r-Q5_K_M.gguf"].map(|path| WirePath::from(std::path::Path::new(path)));
    let more = "`hf cache rm model/o/r` removes more: r-Q4_K_M.gguf, r-Q5_K_M.gguf";
    check(&[Holder { beside: beside.into(), ..hub("o/r@1:f") }], false, Err(more));
    let names = ["a", "b", "c", "d", "e"].map(|name| of(App::Ollama, name, None, 1));
    check(&names[..1], false, Ok("ollama rm a"));
    check(&names[..2], false, Err("`ollama rm a` does not free it: also held by b"));
    check(&names, false, Err("`ollama rm a` does not free it: also held by b, c, d and 1 more"));
    check(&names[..1], true, Err("`ollama rm a` does not free it: also held by a hard link elsewhere"));
    let soft = holder("m", "/soft", 1, Some(Link::Symlink));
    let hard = holder("m", "/hard", 1, Some(Link::Hardlink));
    check(&[names[0].clone(), soft], false, Ok("ollama rm a"));
    check(&[names[0].clone(), hard], false, Err("`ollama rm a` does not free it: also held by /hard"));
}

/// A file of so many bytes in stretches of a disk, some of them said to be another file's too.
fn lying(holder: Holder, all: &[(u64, u64, bool)]) -> Holder {
    let extent = |(start, length, is_shared): &(u64, u64, bool)| Extent {
        start: *start,
        length: *length,
        is_shared: *is_shared,
    };
    let extents = Extents { disk: "d".into(), all: all.iter().map(extent).collect() };
    Holder { extents: Some(extents), ..holder }
}

#[test]
fn copies_that_lie_at_the_same_place_take_their_bytes_once() {
    use Sameness::Exact;
    let a = || lying(holder("m", "/a", 1, None), &[(0, 4096, true)]);
    let b = || lying(holder("m", "/b", 2, None), &[(0, 1024, true), (1024, 3072, true)]);
    let c = || lying(holder("m", "/c", 3, None), &[(8192, 4096, false)]);
    check(&[a(), b()], &[(Exact, "sampled:ab01", false, 0, &["/a", "/b"])]);
    let both = groups(&[a(), b()]);
    assert_eq!(both[0].copies.iter().map(|copy| copy.reflink).collect::<Vec<_>>(), [false, true]);
    assert_eq!(totals(&both), (0, 0));
    check(&[a(), b(), c()], &[(Exact, "sampled:ab01", false, 4096, &["/a", "/b", "/c"])]);
    assert_eq!(totals(&groups(&[a(), b(), c()])), (1, 4096));
    let first = || lying(holder("m", "/a", 1, None), &[(0, 2048, true), (2048, 2048, false)]);
    let half = lying(holder("m", "/h", 4, None), &[(0, 2048, true), (50_000, 2048, false)]);
    check(&[first(), half.clone()], &[(Exact, "sampled:ab01", false, 2048, &["/a", "/h"])]);
    assert_eq!(
        overlaps(&[first(), half, c()]),
        [("v".into(), 1, 0), ("v".into(), 3, 0), ("v".into(), 4, 2048)]
    );
    assert_eq!(overlaps(&[a(), c()]), []);
}

#[test]
fn what_a_snapshot_keeps_is_not_to_be_won() {
    let a = lying(holder("m", "/a", 1, None), &[(0, 4096, false)]);
    let kept = lying(holder("m", "/b", 2, None), &[(8192, 1024, true), (9216, 3072, false)]);
    check(&[a, kept], &[(Sameness::Exact, "sampled:ab01", false, 4096, &["/a", "/b"])]);
}
