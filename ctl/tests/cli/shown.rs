//! What people see, compared as text.

use crate::fake::{Fake, frame, model};
use serde_json::json;

fn models() -> (serde_json::Value, serde_json::Value) {
    let mut experts = model("Qwen3-Coder\u{1b}[31m\u{202e}fugg\n模型");
    experts["parameters"] = 30_532_122_624_u64.into();
    experts["active_parameters"] = 3_350_000_000_u64.into();
    experts["context_length"] = 262_144.into();
    experts["state"] = "incomplete".into();
    experts["pinned"] = true.into();
    let mut second = experts["locations"][0].clone();
    second["app"] = "ollama".into();
    experts["locations"] = json!([second, second, experts["locations"][0]]);
    let mut bare = model("bare");
    for field in ["architecture", "parameters", "active_parameters", "quant", "context_length"] {
        bare[field] = json!(null);
    }
    (experts, bare)
}

#[test]
fn a_list_is_a_table_that_no_name_can_break() {
    let (experts, bare) = models();
    let first = json!({"models": [model("Qwen3-8B-Q4_K_M"), experts]}).to_string();
    let second = json!({"models": [bare]}).to_string();
    let said = Fake::new(vec![frame(&first, true), frame(&second, false)]).run(&["list"]);
    let expected = r"
   NAME                                   ARCH        PARAMS  QUANT    CTX     SIZE  STATE       APPS
   Qwen3-8B-Q4_K_M                        qwen3         8.2B  Q4_K_M   40k  4.7 GiB              huggingface
*  Qwen3-Coder\x1b[31m\u{202e}fugg\n模型  qwen3  30.5B-A3.4B  Q4_K_M  256k  4.7 GiB  incomplete  ollama,huggingface
   bare                                                                     4.7 GiB              huggingface
";
    assert_eq!(said.out, expected.trim_start_matches('\n'), "{}", said.out);
    assert_eq!((said.code, said.err.as_str()), (0, ""));
}

#[test]
fn a_narrow_terminal_shortens_names_in_the_middle() {
    let listed = json!({"models": [model("Qwen3-Coder-30B-A3B-Instruct-2507-UD-Q4_K_XL")]}).to_string();
    let fake = Fake::replying(&listed);
    let mut environment = fake.environment();
    environment.width = Some(76);
    let said = crate::fake::run(&["list"], &environment);
    assert_eq!(
        said.out,
        "NAME                                       ARCH   QUANT      SIZE  APPS\n\
         Qwen3-Coder-30B-A3B-…ruct-2507-UD-Q4_K_XL  qwen3  Q4_K_M  4.7 GiB  hugg…face\n",
    );
}

#[test]
fn no_line_is_wider_than_the_terminal_and_the_name_is_cut_last() {
    let mut wide = model("Qwen3-Coder-30B-A3B-Instruct-2507");
    wide["architecture"] = "StableDiffusionXLImg2ImgPipeline".into();
    wide["safety"] = "unverifiable".into();
    wide["state"] = "incomplete".into();
    wide["pinned"] = true.into();
    wide["parameters"] = 30_532_122_624_u64.into();
    wide["active_parameters"] = 3_350_000_000_u64.into();
    let mut places = json!([]);
    for app in ["ollama", "huggingface", "lmstudio", "stabilitymatrix"] {
        let mut place = wide["locations"][0].clone();
        place["app"] = app.into();
        places.as_array_mut().unwrap().push(place);
    }
    wide["locations"] = places;
    let listed = json!({"models": [wide, model("a")]}).to_string();
    let at = |columns| {
        let fake = Fake::replying(&listed);
        let mut environment = fake.environment();
        environment.width = Some(columns);
        crate::fake::run(&["list"], &environment).out
    };
    for columns in 40..220 {
        let shown = at(columns);
        assert!(shown.lines().all(|line| line.chars().count() <= columns), "{columns}:\n{shown}");
        assert!(columns < 80 || shown.contains("Qwen3-Coder-30B-A3B-Instruct-2507"), "{columns}:\n{shown}");
    }
    assert!(at(130).contains("ollama +3"), "{}", at(130));
    assert!(at(200).contains("ollama,huggingface,lmstudio,stabilitymatrix"), "{}", at(200));
}

#[test]
fn models_of_one_name_are_told_apart_by_an_id_and_what_is_offline_is_grey() {
    let [mut first, mut second] = [model("tiny"), model("tiny")];
    first["id"] = "lke5pikmcyfl".into();
    second["id"] = "zzz5pikmcyfl".into();
    second["state"] = "offline".into();
    let listed = json!({"models": [model("alone"), first, second]}).to_string();
    let fake = Fake::replying(&listed);
    let mut environment = fake.environment();
    environment.stdout_is_terminal = true;
    let expected = "\
\x1b[1mNAME   ID        ARCH   PARAMS  QUANT   CTX     SIZE  STATE    APPS\x1b[0m
alone            qwen3    8.2B  Q4_K_M  40k  4.7 GiB           huggingface
tiny   lke5pikm  qwen3    8.2B  Q4_K_M  40k  4.7 GiB           huggingface
\x1b[2mtiny   zzz5pikm  qwen3    8.2B  Q4_K_M  40k  4.7 GiB  offline  huggingface\x1b[0m
";
    assert_eq!(crate::fake::run(&["list"], &environment).out, expected);
}

#[test]
fn colour_only_on_a_terminal_that_wants_it() {
    let listed = json!({"models": [model("a")]}).to_string();
    for (terminal, no_color, coloured) in [(true, "", true), (true, "1", false), (false, "", false)] {
        let fake = Fake::replying(&listed);
        let mut environment = fake.environment();
        environment.stdout_is_terminal = terminal;
        environment.variables.insert("NO_COLOR".into(), no_color.into());
        assert_eq!(crate::fake::run(&["list"], &environment).out.contains('\x1b'), coloured);
    }
}

#[test]
fn an_empty_list_says_so_beside_the_data() {
    let said = Fake::replying(r#"{"models":[]}"#).run(&["list"]);
    assert_eq!((said.code, said.out.as_str()), (0, ""));
    assert_eq!(said.err, "no models\nhint: `modelctl` shows where they were looked for\n");
}

#[test]
fn show_tells_where_it_lies_and_how_its_origin_is_known() {
    let mut shown = model("Qwen3-8B-Q4_K_M");
    shown["facts"] = json!(null);
    shown["note"] = "first\nsecond\u{1b}".into();
    let said = Fake::replying(&shown.to_string()).run(&["show", "q"]);
    let expected = "\
Qwen3-8B-Q4_K_M
  id             m1
  state          ok
  format         gguf
  kind           llm
  architecture   qwen3
  parameters     8.2B
  quant          Q4_K_M, 4.89 bits per weight
  context        40960 tokens, as trained
  size           4.7 GiB, on disk 4.7 GiB
  verification   unverified
  license        apache-2.0
  can            chat

in huggingface
  handle         Qwen/Qwen3-8B-GGUF
  came from      huggingface  Qwen/Qwen3-8B-GGUF
  known by       recorded: the cache folder's name
  revision       abcd
  refs           main
  owner          me:me
  file           /m/a.gguf
                 weights, 4.7 GiB, symlink

yours
  pinned         no
  note           first
                 second\\x1b
  first seen     3 min ago
";
    assert_eq!(said.out, expected, "{}{}", said.out, said.err);
}

fn root() -> serde_json::Value {
    json!({"path": "/mnt/big", "app": "loose", "derived_from": null, "online": true, "offline_since": null,
        "watched": false, "degraded": true, "reason": "no watches left: sysctl fs.inotify.max_user_watches=524288",
        "models": 3, "bytes": 5_027_783_488_u64, "rescans": 1, "last_scan": "2026-11-22T11:57:00Z"})
}

#[test]
fn roots_say_how_well_they_are_watched() {
    let mut away = root();
    away["path"] = "/mnt/usb".into();
    away["online"] = false.into();
    away["offline_since"] = "2026-11-22T10:00:00Z".into();
    away["reason"] = json!(null);
    let mut at_home = root();
    at_home["path"] = "/home/you/models".into();
    at_home["derived_from"] = "/home/your/link".into();
    at_home["reason"] = json!(null);
    let fake = Fake::replying(&json!({"roots": [root(), away, at_home]}).to_string());
    let mut environment = fake.environment();
    environment.variables.insert("HOME".into(), "/home/you".into());
    let said = crate::fake::run(&["roots"], &environment);
    let expected = "\
PATH      APP    STATE             MODELS     SIZE
/mnt/big  loose  polled                 3  4.7 GiB
  no watches left: sysctl fs.inotify.max_user_watches=524288
/mnt/usb  loose  offline, 2 h ago       3  4.7 GiB
~/models  loose  polled                 3  4.7 GiB
  linked from /home/your/link
";
    assert_eq!(said.out, expected, "{}{}", said.out, said.err);
}

#[test]
fn suggestions_say_why_and_how_and_a_look_that_was_cut_short_says_so() {
    let one = json!({"path": "/mnt/a\u{1b}b", "app": "loose", "models": 2, "bytes": 5_027_783_488_u64,
        "evidence": ["2 files, 4.7 GiB, are named like weights"], "command": "modelctl roots add /mnt/ab"});
    let reply = json!({"suggestions": [one], "looked": 12, "complete": false}).to_string();
    let said = Fake::replying(&reply).run(&["roots", "suggest"]);
    let expected = "\
PATH         APP    FILES     SIZE
/mnt/a\\x1bb  loose      2  4.7 GiB
  2 files, 4.7 GiB, are named like weights
  modelctl roots add /mnt/ab
";
    assert_eq!(said.out, expected, "{}{}", said.out, said.err);
    assert!(said.err.contains("ended after 12 folders"), "{}", said.err);
    let none = Fake::replying(r#"{"suggestions":[],"looked":3,"complete":true}"#).run(&["roots", "suggest"]);
    assert!(
        none.code == 0 && none.out.is_empty() && none.err.contains("in 3 folders"),
        "{}{}",
        none.out,
        none.err
    );
}

#[test]
fn the_home_screen_says_what_there_is_and_what_to_do() {
    let mut overview = json!({"version": "0", "roots": [root()], "models": 3, "locations": 5,
        "disk_size": 5_027_783_488_u64, "duplicates": 1, "reclaimable": 1_073_741_824, "problems": [],
        "notices": ["the index was rebuilt"], "scanning": false, "runs": [], "ram_total": 68_719_476_736_u64,
        "ram_available": 34_359_738_368_u64});
    overview["problems"] = (0..7)
        .map(|n| json!({"name": format!("m{n}"), "id": "i", "state": "corrupt", "reason": "tensor data ends early"}))
        .collect();
    overview["problems"][0]["danger"] = "loading it runs code: os.system".into();
    overview["problems"][1]["verification"] = "mismatch".into();
    let said = Fake::replying(&overview.to_string()).run(&[]);
    let expected = "\
3 models in 5 places, 4.7 GiB on disk
1 is stored more than once: one copy each would free 1.0 GiB
memory: 32.0 GiB of 64.0 GiB available

PATH      APP    STATE   MODELS     SIZE
/mnt/big  loose  polled       3  4.7 GiB
  no watches left: sysctl fs.inotify.max_user_watches=524288

PROBLEMS
m0  dangerous: loading it runs code: os.system
m1  mismatch: tensor data ends early
m2  corrupt: tensor data ends early
m3  corrupt: tensor data ends early
m4  corrupt: tensor data ends early
and 2 more: modelctl list 'state!=ok'

NOTICES
the index was rebuilt

NEXT
modelctl list
modelctl list 'state!=ok'
modelctl launch llama.cpp MODEL
";
    assert_eq!(said.out, expected, "{}{}", said.out, said.err);
    overview["models"] = 0.into();
    overview["roots"] = json!([]);
    let said = Fake::replying(&overview.to_string()).run(&[]);
    assert!(said.out.starts_with("no models\nno folder of any known app was found"), "{}", said.out);
    assert!(said.out.contains("modelctl roots add DIR"), "{}", said.out);
}

#[test]
fn events_are_one_line_each() {
    let event =
        json!({"at": "2026-11-22T12:00:00Z", "event": "ModelAdded", "model": model("a\nb")}).to_string();
    let said = Fake::new(vec![frame(&event, false)]).run(&["events"]);
    assert_eq!(said.out, "2026-11-22T12:00:00Z  ModelAdded  a\\nb\n");
}

#[test]
fn changes_are_quiet_and_counts_are_short() {
    for args in [&["tag", "m", "x"][..], &["note", "m", "x"], &["pin", "m"], &["alias", "m", "x"]] {
        let said = Fake::replying(&model("m").to_string()).run(args);
        assert_eq!((said.code, said.out + &said.err), (0, String::new()), "{args:?}");
    }
    let mut tagged = model("m");
    tagged["tags"] = json!(["daily", "s\u{1b}ql"]);
    tagged["facts"] = json!(null);
    assert_eq!(Fake::replying(&tagged.to_string()).run(&["tag", "m"]).out, "daily\ns\\x1bql\n");
    assert_eq!(Fake::replying(r#"{"models":1}"#).run(&["sync"]).out, "1 model\n");
    assert_eq!(
        Fake::replying(r#"{"models":9,"read":1}"#).run(&["scan"]).out,
        "9 models, 1 file read again\n"
    );
}

#[test]
fn what_is_wrong_comes_with_what_it_means_and_the_line_that_mends_it() {
    let findings = json!({"findings": [
        {"severity": "problem", "about": "/data\u{1b}", "what": "no watches", "means": "Changes come late.", "fix": "sysctl x"},
        {"severity": "warning", "about": "engines", "what": "none", "means": "Nothing starts.", "fix": null}]});
    let expected = "\
problem  /data\\x1b: no watches
         Changes come late.
         hint: sysctl x
warning  engines: none
         Nothing starts.
";
    assert_eq!(Fake::replying(&findings.to_string()).run(&["doctor"]).out, expected);
    let path = format!("/m/{}/end", "d/".repeat(2000));
    let long = json!({"findings": [{"severity": "problem", "about": path, "what": format!("{path} cannot be read"),
        "means": "m", "fix": null}]});
    let said = Fake::replying(&long.to_string()).run(&["doctor"]).out;
    assert!(said.lines().all(|line| line.len() < 300) && said.contains("d//end cannot be read"), "{said}");
    assert_eq!(Fake::replying(r#"{"findings":[]}"#).run(&["doctor"]).out, "nothing is wrong\n");
}

fn a_run(state: &str) -> serde_json::Value {
    json!({"run": "r4hx2ka", "engine": "llama.cpp", "model": {"id": "m1", "name": "m\u{1b}"}, "state": state,
        "ours": true, "pid": 7, "unit": null, "url": "http://127.0.0.1:8080", "ctx": 40960,
        "since": "2026-11-22T11:57:00Z", "memory": {"host": 1_073_741_824, "CUDA0": 1_073_741_824}, "planned": {},
        "on_cpu": null, "last_lines": [], "why": null, "hint": null, "code": null, "signal": null, "notes": []})
}

#[test]
fn what_runs_is_a_table_and_what_failed_says_why() {
    let mut failed = a_run("failed");
    failed["why"] = "out of memory".into();
    failed["hint"] = "modelctl launch llama.cpp m --ctx 2048".into();
    failed["memory"] = json!({});
    failed["pid"] = json!(null);
    let said = Fake::replying(&json!({"runs": [a_run("ready"), failed]}).to_string()).run(&["ps"]);
    let expected = "\
RUN      MODEL  ENGINE     STATE   PID  CTX   MEMORY  SINCE      URL
r4hx2ka  m\\x1b  llama.cpp  ready     7  40k  2.0 GiB  3 min ago  http://127.0.0.1:8080
r4hx2ka  m\\x1b  llama.cpp  failed       40k           3 min ago
  out of memory
  modelctl launch llama.cpp m --ctx 2048
";
    assert_eq!(said.out, expected, "{}{}", said.out, said.err);
    let said = Fake::replying(r#"{"runs":[]}"#).run(&["ps"]);
    assert_eq!((said.code, said.out.as_str()), (0, ""));
    assert_eq!(said.err, "nothing runs\nhint: modelctl launch llama.cpp MODEL --detach\n");
}

#[test]
fn a_stop_names_what_it_stopped_and_a_log_reaches_no_terminal_as_it_is() {
    let fake = Fake::replying(&json!({"run": a_run("exited")}).to_string());
    let said = fake.run(&["stop", "r4"]);
    assert_eq!((said.code, said.out.as_str()), (0, "r4hx2ka  m\\x1b  stopped\n"));
    assert_eq!(fake.call()["parameters"], json!({"run": "r4"}));
    let lines = [r#"{"lines":["a\u001b[2J"]}"#, r#"{"lines":["b"]}"#];
    let stream = || Fake::new(vec![frame(lines[0], true), frame(lines[1], false)]);
    let fake = stream();
    assert_eq!(fake.run(&["logs", "r4", "-f"]).out, "a\\x1b[2J\nb\n");
    assert_eq!(fake.call()["parameters"], json!({"run": "r4", "follow": true}));
    assert_eq!(stream().run(&["logs", "r4", "-f", "--json"]).out, format!("{}\n{}\n", lines[0], lines[1]));
    assert_eq!(Fake::replying(lines[0]).run(&["logs", "r4"]).out, "a\\x1b[2J\n");
}
