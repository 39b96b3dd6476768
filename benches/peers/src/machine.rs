//! What the figures were measured on.

use anyhow::Result;
use std::fs::read_to_string;

/// A sentence about the machine and its state.
pub fn describe() -> Result<String> {
    let cpuinfo = read_to_string("/proc/cpuinfo")?;
    let field = |name: &str| {
        let line = cpuinfo.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.split(": ").nth(1)).unwrap_or("unknown").to_owned()
    };
    let cpus = cpuinfo.lines().filter(|line| line.starts_with("processor")).count();
    let meminfo = read_to_string("/proc/meminfo")?;
    let total = meminfo.lines().next().and_then(|line| line.split_whitespace().nth(1));
    let memory_gib = total.and_then(|kib| kib.parse::<f64>().ok()).unwrap_or(0.0) / 1024.0 / 1024.0;
    let kernel = read_to_string("/proc/sys/kernel/osrelease")?;
    let load = read_to_string("/proc/loadavg")?;
    Ok(format!(
        "{cpus} x {} (family {}, model {}), {memory_gib:.0} GiB, Linux {}; load average at the end: {}.",
        field("model name"),
        field("cpu family"),
        field("model\t"),
        kernel.trim().split('-').next().unwrap_or_default(),
        load.split(' ').next().unwrap_or_default(),
    ))
}
