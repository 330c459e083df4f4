//! A house with a fake NVML: cards are lines of a file.

use crate::House;
use std::{fs, path::Path, process::Command};

impl House {
    /// Builds the fake into `lib`, where the daemon will find it; false where there is no C compiler.
    #[track_caller]
    pub fn install_nvml(&mut self) -> bool {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/fake_nvml.c");
        fs::create_dir_all(self.at("lib")).unwrap();
        let built = Command::new("cc")
            .args(["-shared", "-fPIC", "-o"])
            .args([self.at("lib/libnvidia-ml.so.1"), source])
            .output();
        match built {
            Ok(built) => assert!(built.status.success(), "{built:?}"),
            Err(_) => return false,
        }
        self.set("LD_LIBRARY_PATH", self.at("lib"));
        true
    }

    /// The cards that the driver tells from now on: `NAME|TOTAL MIB|USED MIB|UUID|PCI BUS ID|PID:MIB …|STATE`.
    pub fn cards(&self, lines: &[String]) {
        // In one piece: a look may fall between.
        crate::files::write(self.home("nvml.new"), lines.join("\n"));
        fs::rename(self.home("nvml.new"), self.home("nvml")).unwrap();
    }
}
