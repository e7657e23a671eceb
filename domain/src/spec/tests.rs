use super::*;

#[test]
fn every_knob_reads_back_what_it_shows() {
    for spec in [TrainSpec::default(), TrainSpec::small_base()] {
        spec.check().unwrap();
        let mut copy = TrainSpec::default();
        for knob in KNOBS {
            copy.set(knob.name, &spec.get(knob.name).expect(knob.name)).unwrap();
        }
        assert_eq!(copy, spec);
    }
}

#[test]
fn every_field_is_a_knob() {
    let json = serde_json::to_value(TrainSpec::default()).unwrap();
    let mut fields: Vec<_> = json.as_object().unwrap().keys().map(String::as_str).collect();
    let mut knobs: Vec<_> = KNOBS.iter().map(|knob| knob.name).collect();
    fields.sort_unstable();
    knobs.sort_unstable();
    assert_eq!(fields, knobs);
}

#[test]
fn out_of_range_and_nonsense_name_the_knob_and_what_was_given() {
    let mut spec = TrainSpec::default();
    for (name, words) in [
        ("r", "0"),
        ("r", "-1"),
        ("r", "sixteen"),
        ("learning_rate", "NaN"),
        ("learning_rate", "inf"),
        ("learning_rate", "2"),
        ("warmup_ratio", "1.0"),
        ("quantization", "int8"),
        ("target_modules", "q_proj,lm_head"),
        ("target_modules", ""),
        ("completion_only_loss", "maybe"),
        ("class_weights", "a=0"),
        ("max_rows_per_label", "-1"),
    ] {
        let error = spec.set(name, words).unwrap_err();
        assert!(error.message.contains(name), "{error}");
    }
    assert!(spec.set("no_such", "1").is_err());
    assert_eq!(spec, TrainSpec::default());
    let outside = TrainSpec { learning_rate: f64::INFINITY, ..TrainSpec::default() };
    assert!(outside.check().is_err());
}

#[test]
fn modules_are_a_set() {
    let mut spec = TrainSpec::default();
    spec.set("target_modules", " v_proj, q_proj,v_proj ").unwrap();
    assert_eq!(spec.target_modules, [TargetModule::QProj, TargetModule::VProj]);
    spec.set("target_modules", "all-linear").unwrap();
    assert_eq!(spec.target_modules, TargetModule::ALL);
}
