//! Whether the machine has nothing better to do. Asks for no more than the kernel tells in two small files.

use crate::hardware::base;
use std::{fs, path::Path, thread};

/// Above this much work for each core it is busy: the load of one minute (proc_loadavg(5)).
const LOAD_OF_A_CORE: f64 = 0.5;

/// Why not now, in words; None where it may be.
pub(super) fn why_not_now(sysroot: &Path) -> Option<&'static str> {
    if is_on_battery(sysroot) {
        return Some("on battery");
    }
    is_busy(sysroot).then_some("the machine is busy")
}

fn is_busy(sysroot: &Path) -> bool {
    const LOAD: &str = "proc/loadavg";
    let text = fs::read_to_string(base(sysroot, LOAD).join(LOAD)).unwrap_or_default();
    let load: Option<f64> = text.split(' ').next().and_then(|first| first.parse().ok());
    let cores = thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let limit = (f64::from(u32::try_from(cores).unwrap_or(1)) * LOAD_OF_A_CORE).max(1.0);
    load.is_some_and(|load| load > limit)
}

/// A battery that gives, of the machine and not of its mouse (sysfs-class-power).
pub(super) fn is_on_battery(sysroot: &Path) -> bool {
    const SUPPLIES: &str = "sys/class/power_supply";
    let supplies = fs::read_dir(base(sysroot, SUPPLIES).join(SUPPLIES)).into_iter().flatten().flatten();
    supplies.map(|supply| supply.path()).any(|supply| {
        let is = |file: &str, word: &str| {
            fs::read_to_string(supply.join(file)).is_ok_and(|text| text.trim() == word)
        };
        is("type", "Battery") && is("status", "Discharging") && !is("scope", "Device")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_machine_and_one_on_battery_are_left_alone() {
        let root = tempfile::tempdir().unwrap();
        let put = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        put("sys/class/power_supply/AC/type", "Mains\n");
        put("proc/loadavg", "0.04 0.10 0.20 1/200 4000\n");
        assert_eq!(why_not_now(root.path()), None);
        put("proc/loadavg", "99.00 50.00 20.00 9/200 4000\n");
        assert_eq!(why_not_now(root.path()), Some("the machine is busy"));
        put("sys/class/power_supply/mouse/type", "Battery\n");
        put("sys/class/power_supply/mouse/status", "Discharging\n");
        put("sys/class/power_supply/mouse/scope", "Device\n");
        assert!(!is_on_battery(root.path()));
        put("sys/class/power_supply/BAT0/type", "Battery\n");
        put("sys/class/power_supply/BAT0/status", "Charging\n");
        assert!(!is_on_battery(root.path()));
        put("sys/class/power_supply/BAT0/status", "Discharging\n");
        assert_eq!(why_not_now(root.path()), Some("on battery"));
    }
}
