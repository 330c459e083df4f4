//! What a daemon takes of the machine, as the kernel counts it.

use crate::House;
use std::fs;

/// KiB that are in memory.
pub fn resident(house: &House) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", house.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Seconds of CPU so far, of all its threads: utime and stime of proc_pid_stat(5), in hundredths.
pub fn cpu(house: &House) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{}/stat", house.pid())).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    fields[11..13].iter().map(|field| field.parse::<f64>().unwrap() / 100.0).sum()
}
