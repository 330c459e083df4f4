//! What the end-to-end tests share: a house with a daemon in it, files that are models, stores, and the bare wire.

pub mod engine;
pub mod files;
pub mod house;
pub mod large;
pub mod nvml;
pub mod stores;
pub mod sysfs;
pub mod usage;
pub mod wait;
pub mod wire;

pub use house::{House, Programs, Said};
pub use wait::{poll, wait_until};
pub use wire::Wire;

/// Returns a house whose programs are those of this build.
#[macro_export]
macro_rules! house {
    () => {
        $crate::House::new($crate::Programs {
            modeld: env!("CARGO_BIN_EXE_test-modeld").into(),
            modelctl: env!("CARGO_BIN_EXE_test-modelctl").into(),
        })
    };
}

/// Gives a house the fake NVIDIA driver, or ends the test where there is no C compiler to build it.
#[macro_export]
macro_rules! nvml {
    ($house:expr) => {
        if !$house.install_nvml() {
            $crate::skip!("there is no cc");
        }
    };
}

/// Says by name why a test has nothing to test here, and ends it.
#[macro_export]
macro_rules! skip {
    ($($why:tt)*) => {{
        eprintln!("skipped: {}", format!($($why)*));
        return;
    }};
}
