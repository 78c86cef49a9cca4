//! Amounts of CPU and memory: read from what people write, written as Kubernetes writes them.

use proptest::prelude::{prop_assert_eq, proptest};
use slipway::domain::shape::{Cpu, Memory};

#[test]
fn amounts_are_written_as_kubernetes_writes_them() {
    for (text, canonical) in [("2", "2"), ("0.5", "500m"), ("500m", "500m"), ("1000m", "1"), ("1.25", "1250m")] {
        assert_eq!(text.parse::<Cpu>().expect(text).to_string(), canonical);
    }
    for (text, canonical) in [
        ("512Mi", "512Mi"),
        ("1024Mi", "1Gi"),
        ("1.5Gi", "1536Mi"),
        ("2Gi", "2Gi"),
        ("1Ti", "1Ti"),
        ("2048Gi", "2Ti"),
    ] {
        assert_eq!(text.parse::<Memory>().expect(text).to_string(), canonical);
    }
}

#[test]
fn what_is_no_amount_is_refused_with_the_rule() {
    for text in ["", "m", "-1", "0", "0m", "1e3", "0.0001", "1025", "1 ", "nan", "1.m", ".5"] {
        assert!(text.parse::<Cpu>().is_err(), "{text:?}");
    }
    for text in ["", "Mi", "0Mi", "512", "512MB", "0.3Mi", "17Ti", "-1Gi", "1g"] {
        assert!(text.parse::<Memory>().is_err(), "{text:?}");
    }
    let error = "512MB".parse::<Memory>().expect_err("not an amount");
    assert!(error.to_string().contains("512Mi"), "{error}");
}

#[test]
fn a_worker_has_a_thread_for_each_whole_core_and_never_none() {
    for (cpu, threads) in [("100m", 1), ("1", 1), ("1.9", 1), ("4", 4)] {
        assert_eq!(cpu.parse::<Cpu>().expect(cpu).threads(), threads);
    }
}

proptest! {
    #[test]
    fn every_amount_is_read_back_as_it_is_written(millis in 1_u32..=1_024_000, mebibytes in 1_u32..=16 << 20) {
        let cpu = Cpu::from_millis(millis).expect("within the range");
        prop_assert_eq!(cpu.to_string().parse::<Cpu>().expect("its own form"), cpu);
        let memory = Memory::from_mebibytes(mebibytes).expect("within the range");
        prop_assert_eq!(memory.to_string().parse::<Memory>().expect("its own form"), memory);
    }
}
