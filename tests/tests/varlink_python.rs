//! Another program's client: the Python package `varlink` (CI installs it).

use std::{path::Path, process::Command};
use tests::{
    files::{gguf, write},
    house, skip,
};

#[test]
fn the_python_package_varlink_is_a_client() {
    if !Command::new("python3")
        .args(["-c", "import varlink"])
        .output()
        .is_ok_and(|output| output.status.success())
    {
        skip!("python varlink is not installed");
    }
    let mut house = house!();
    write(house.models("m.gguf"), gguf("m"));
    house.start();
    house.sync();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/foreign_client.py");
    let output = Command::new("timeout")
        .args(["60", "python3"])
        .arg(script)
        .arg(house.socket())
        .arg("m")
        .arg(house.models("m.gguf"))
        .output();
    let output = output.unwrap();
    assert!(
        output.status.success() && output.stdout == b"ok\n",
        "{}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
}
