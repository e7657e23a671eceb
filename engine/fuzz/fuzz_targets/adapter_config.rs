//! `adapter_config.json`: an error, or a rank and a strength for some modules, found in a reasonable time.
#![no_main]

use domain::spec::TargetModule;
use engine::adapter::peft_config::PeftConfig;
use fuzz::Bounded;
use libfuzzer_sys::fuzz_target;

// Each expression may take some megabytes.
#[global_allocator]
static ALLOCATOR: Bounded<{ 512 << 20 }> = Bounded;

fuzz_target!(|bytes: &[u8]| {
    let Ok(config) = PeftConfig::parse(bytes) else { return };
    for layer in [0, 1, 12] {
        for module in TargetModule::ALL {
            if let Ok(Some(module)) = config.module(layer, module) {
                assert!(module.r > 0 && module.lora_alpha.is_finite() && module.lora_alpha > 0.0);
            }
        }
    }
});
