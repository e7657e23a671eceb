use super::*;
use crate::spec::{LrSchedulerType, TargetModule, TrainSpec};

fn list(knob: &str, words: &str) -> Dimension {
    Dimension::parse(knob, words).unwrap()
}

fn space(dimensions: Vec<Dimension>, search: Search) -> Space {
    Space { dimensions, search, halving: None }
}

fn told(spec: &TrainSpec, space: &Space) -> String {
    plan(spec, space, 1).unwrap_err().message
}

#[test]
fn a_grid_is_every_combination_and_the_last_knob_changes_first() {
    let dimensions = vec![
        list("r", "8, 16"),
        list("lr_scheduler_type", "cosine, constant"),
        list("target_modules", "q_proj,v_proj | all-linear"),
    ];
    let specs = plan(&TrainSpec::small_base(), &space(dimensions, Search::Grid), 0).unwrap();
    assert_eq!(specs.len(), 8);
    let picture =
        |spec: &TrainSpec| (spec.r, spec.lr_scheduler_type == LrSchedulerType::Cosine, spec.target_modules.len());
    let pictures: Vec<_> = specs.iter().map(picture).collect();
    assert_eq!(pictures[..4], [(8, true, 2), (8, true, 7), (8, false, 2), (8, false, 7)]);
    assert_eq!(specs[0].target_modules, [TargetModule::QProj, TargetModule::VProj]);
    // What is not varied stays.
    assert!(specs.iter().all(|spec| spec.learning_rate == TrainSpec::small_base().learning_rate));
}

#[test]
fn a_random_search_follows_from_its_seed_and_stays_in_its_ranges() {
    let dimensions =
        vec![list("learning_rate", "1e-5 .. 1e-2 log"), list("r", "1 .. 64"), list("balanced_sampling", "true, false")];
    let search = space(dimensions, Search::Random { trials: 60 });
    let base = TrainSpec::small_base();
    let specs = plan(&base, &search, 7).unwrap();
    assert_eq!(specs, plan(&base, &search, 7).unwrap());
    assert_ne!(specs, plan(&base, &search, 8).unwrap());
    assert_eq!(specs.len(), 60);
    assert!(specs.iter().all(|spec| (1e-5..=1e-2).contains(&spec.learning_rate) && (1..=64).contains(&spec.r)));
    // By the logarithm, each decade has its third.
    let low = specs.iter().filter(|spec| spec.learning_rate < 1e-4).count();
    assert!((10..=30).contains(&low), "{low}");
    assert!(specs.iter().any(|spec| spec.balanced_sampling) && specs.iter().any(|spec| !spec.balanced_sampling));
}

#[test]
fn a_small_space_is_used_up_and_no_trial_comes_twice() {
    let search = space(vec![list("r", "2 .. 4")], Search::Random { trials: 50 });
    let mut ranks: Vec<u64> = plan(&TrainSpec::default(), &search, 3).unwrap().iter().map(|spec| spec.r).collect();
    ranks.sort_unstable();
    assert_eq!(ranks, [2, 3, 4]);
}

#[test]
fn a_field_is_read_and_written_back() {
    for (knob, words, written) in [
        ("r", "8,16", "8, 16"),
        ("learning_rate", "1e-4..1e-2 log", "1e-4 .. 0.01 log"),
        ("target_modules", "q_proj,v_proj|all-linear", "q_proj,v_proj | all-linear"),
        ("prompt_template", "A {text} =\n---\nB {text} =", "A {text} =\n---\nB {text} ="),
        ("class_weights", "none | a=2,b=1", "none | a=2,b=1"),
    ] {
        let dimension = list(knob, words);
        assert_eq!(dimension.in_words(), written);
        assert_eq!(Dimension::parse(knob, &dimension.in_words()).unwrap(), dimension);
    }
}

#[test]
fn what_cannot_be_searched_is_refused_in_words() {
    let base = TrainSpec::default();
    for (knob, words, part) in [
        ("r", "", "needs 1 to 100 values"),
        ("r", "8, 8", "twice"),
        ("learning_rate", "1e-3, 0.001", "twice"),
        ("r", "8, many", "\"many\""),
        ("r", "8 .. 4", "smaller number"),
        ("r", "0 .. 4", "LoRA rank"),
        ("weight_decay", "0 .. 0.1 log", "above 0"),
        ("learning_rate", "nan .. inf", "nan"),
        ("save_steps", "1, 2", "no setting"),
        ("colour", "red", "colour"),
    ] {
        let error = Dimension::parse(knob, words).unwrap_err().message;
        assert!(error.contains(part), "{knob} {words}: {error}");
    }
    assert!(told(&base, &space(vec![], Search::Grid)).contains("at least one setting"));
    assert!(told(&base, &space(vec![list("r", "8")], Search::Grid)).contains("single run"));
    let twice = vec![list("r", "8, 9"), list("r", "10, 11")];
    assert!(told(&base, &space(twice, Search::Grid)).contains("named twice"));
    let ranged = vec![list("r", "8 .. 9")];
    assert!(told(&base, &space(ranged, Search::Grid)).contains("has a range"));
    let many: Vec<String> = (1..=100).map(|rank| rank.to_string()).collect();
    let huge = vec![list("r", &many.join(",")), list("seed", &many.join(",")), list("lora_alpha", &many.join(","))];
    assert!(told(&base, &space(huge, Search::Grid)).contains("1000000 combinations"));
    let random = space(vec![list("r", "8 .. 9")], Search::Random { trials: u64::MAX });
    assert!(told(&base, &random).contains("2 to 100"));
    // What a hostile client sends without the form.
    let wild = Dimension { knob: "r".into(), values: Values::Range { from: f64::NAN, to: 4.0, scale: Scale::Log } };
    assert!(plan(&base, &space(vec![wild], Search::Random { trials: 3 }), 1).is_err());
}

#[test]
fn rungs_lie_before_the_end_and_where_somebody_looks() {
    let spec = TrainSpec { num_train_epochs: 5, eval_steps: 0, ..TrainSpec::default() };
    let epochs = |rungs: &[u64]| Halving { rungs: rungs.to_vec(), unit: RungUnit::Epochs, keep_one_of: 2 };
    assert!(epochs(&[1, 2, 4]).check(&spec).is_ok());
    for rungs in [&[][..], &[0, 1], &[2, 2], &[3, 1], &[5], &[1; 11]] {
        assert!(epochs(rungs).check(&spec).is_err(), "{rungs:?}");
    }
    let by_steps = TrainSpec { eval_steps: 10, ..spec.clone() };
    let steps = |rungs: &[u64]| Halving { unit: RungUnit::Steps, ..epochs(rungs) };
    assert!(epochs(&[1]).check(&by_steps).is_err() && steps(&[10]).check(&spec).is_err());
    assert!(steps(&[10, 30]).check(&by_steps).is_ok() && steps(&[10, 25]).check(&by_steps).is_err());
    assert!(Halving { keep_one_of: 1, ..epochs(&[1]) }.check(&spec).is_err());
    // Each trial's own epochs count.
    let swept = Space {
        dimensions: vec![list("num_train_epochs", "2, 5")],
        search: Search::Grid,
        halving: Some(epochs(&[1, 2])),
    };
    assert!(told(&spec, &swept).contains("2 epochs"));
    assert_eq!(Halving::for_epochs(5).unwrap().rungs, [1, 2, 4]);
    assert_eq!(Halving::for_epochs(1), None);
}

#[test]
fn the_better_half_goes_on_by_the_validation_rows() {
    let standing = |place, macro_f1, loss| Standing { place, macro_f1, loss };
    let standings = [
        standing(0, Some(0.5), 1.0),
        standing(1, None, 0.0),
        standing(2, Some(0.7), 1.0),
        standing(3, Some(0.5), 0.9),
        standing(4, Some(0.5), 0.9),
    ];
    assert_eq!(survivors(&standings, 3), [2, 3, 4]);
    assert_eq!(survivors(&standings, 9), [2, 3, 4, 0]);
    let halving = Halving { rungs: vec![1, 2], unit: RungUnit::Epochs, keep_one_of: 2 };
    assert_eq!([0, 1, 2, 5].map(|runs| halving.keeps(runs)), [0, 1, 1, 3]);
    assert!(halving.is_reached(0, 3, 1.0) && !halving.is_reached(0, 3, 0.99) && !halving.is_reached(2, 9, 9.0));
    let spec = TrainSpec { num_train_epochs: 4, ..TrainSpec::default() };
    assert_eq!([0, 1, 2].map(|rung| halving.share(rung, &spec, 100)), [0.25, 0.5, 1.0]);
}

#[test]
fn several_seeds_have_a_mean_and_a_deviation() {
    // By hand: mean 5, squares 9 + 1 + 1 + 1 + 0 + 0 + 4 + 16 = 32, over 7.
    let of = spread([2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0]).unwrap();
    assert_eq!((of.mean, of.count), (5.0, 8));
    assert!((of.deviation - (32.0f64 / 7.0).sqrt()).abs() < 1e-12);
    assert_eq!(spread([0.5]).unwrap().deviation, 0.0);
    assert_eq!(spread([]), None);

    let points = band(&[vec![(1, 2.0), (2, 1.0)], vec![(1, 4.0)]]);
    assert_eq!((points[0].mean, points[0].runs, points[1].runs), (3.0, 2, 1));
    assert!((points[0].deviation - 2.0f64.sqrt()).abs() < 1e-12);

    let seeds = plan(&TrainSpec::default(), &seed_space(42, 3).unwrap(), 0).unwrap();
    assert_eq!(seeds.iter().map(|spec| spec.seed).collect::<Vec<_>>(), [42, 43, 44]);
    assert!(plan(&TrainSpec::default(), &seed_space(u64::from(u32::MAX), 2).unwrap(), 0).is_ok());
    assert!(seed_space(1, 1).is_err() && seed_space(1, 21).is_err());
}
