//! Sweeps with real runs: a grid to its end, a halving through a restart, several seeds.

use crate::support::{Place, import, small_run, told, wait_for_status, weather};
use domain::error::ErrorKind;
use domain::run::{RunEvent, RunStatus};
use domain::split::Split;
use domain::sweep::{
    Dimension, Halving, NewSweep, RungUnit, Search, Space, SweepDetail, SweepId, SweepKind, SweepStatus,
};
use service::Service;
use std::time::Duration;

fn space(knobs: &[(&str, &str)], halving: Option<Halving>) -> Space {
    let dimensions = knobs.iter().map(|(knob, words)| Dimension::parse(knob, words).unwrap()).collect();
    Space { dimensions, search: Search::Grid, halving }
}

/// A sweep has no feed of its own: what moves it are its runs, which a test waits for; the decision follows at once.
async fn until(service: &Service, id: SweepId, wanted: impl Fn(&SweepDetail) -> bool) -> SweepDetail {
    loop {
        let sweep = service.sweeps.get(id).await.unwrap();
        if wanted(&sweep) {
            return sweep;
        }
        assert!(sweep.summary.status == SweepStatus::Working, "{sweep:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_halving_stops_the_worse_runs_and_survives_a_restart() {
    let place = Place::new();
    let service = place.open().await;
    let dataset = import(&service, "weather.csv", &weather(160)).await;
    let halving = Halving { rungs: vec![1, 2], unit: RungUnit::Epochs, keep_one_of: 2 };
    // A rate at which nothing is learnt, and those at which it is.
    let space = space(&[("learning_rate", "1e-7, 1e-3, 2e-3, 1e-6")], Some(halving));
    let new = NewSweep { run: small_run(dataset.id, 3), space, seed: 1 };
    let id = service.sweeps.start(new).await.unwrap();
    let sweep = service.sweeps.get(id).await.unwrap();
    assert_eq!((sweep.summary.kind, sweep.trials.len()), (SweepKind::Search, 4));
    assert_eq!(sweep.trials[2].values, ["2e-3"]);
    let runs = sweep.summary.runs.clone();
    assert_eq!(service.sweeps.of_run(runs[1]).await.unwrap().unwrap().id, id);

    // The first has paused; the server goes and comes back in the middle of the others.
    wait_for_status(&service, runs[0], 0, RunStatus::Cancelled).await;
    assert!(service.runs.get(runs[0]).await.unwrap().resumable);
    service.shutdown().await;
    let service = place.open().await;

    let sweep = until(&service, id, |sweep| sweep.rungs_done >= 1).await;
    let dropped: Vec<usize> = sweep.trials.iter().filter(|t| t.dropped_at == Some(1)).map(|t| t.place).collect();
    assert_eq!(dropped.len(), 2, "{sweep:?}");
    let sweep = until(&service, id, |sweep| sweep.summary.status == SweepStatus::Finished).await;
    assert_eq!(sweep.rungs_done, 2);
    let finished: Vec<usize> =
        sweep.trials.iter().filter(|t| t.status == RunStatus::Finished).map(|t| t.place).collect();
    assert_eq!(finished, [sweep.best.unwrap()]);
    assert_eq!((sweep.progress, sweep.seconds_left), (1.0, None));

    // The decision was by the validation rows: who went on was not worse there than who did not.
    let score = |place: usize| sweep.trials[place].validation_macro_f1.unwrap();
    for trial in &sweep.trials {
        assert!(score(sweep.best.unwrap()) >= score(trial.place), "{sweep:?}");
    }
    // Those that stopped, stopped at their rung: one or two epochs of three, and no further.
    for trial in sweep.trials.iter().filter(|trial| trial.status == RunStatus::Cancelled) {
        let picture = service.runs.picture(trial.run).await.unwrap();
        let rung = trial.dropped_at.unwrap();
        assert_eq!(picture.last_step().unwrap().epoch, rung as f64, "{trial:?}");
        assert_eq!(picture.validations.len() as u64, rung);
        assert!(picture.log.iter().any(|line| line.message.contains("of its sweep")), "{:?}", picture.log);
        assert!(trial.test_macro_f1.is_none());
    }
    // And the one that went on drew every step once.
    let best = service.runs.picture(sweep.trials[sweep.best.unwrap()].run).await.unwrap();
    let total = best.last_step().unwrap().total_steps;
    assert_eq!(best.steps.iter().map(|point| point.step).collect::<Vec<_>>(), (1..=total).collect::<Vec<_>>());

    // By hand, a dropped one goes to its end; the sweep stays as it was decided.
    let by_hand = sweep.trials[dropped[0]].run;
    let seen = service.runs.picture(by_hand).await.unwrap().last_seq;
    service.runs.resume(by_hand).await.unwrap();
    wait_for_status(&service, by_hand, seen, RunStatus::Finished).await;
    assert_eq!(service.sweeps.get(id).await.unwrap().best, sweep.best);
    service.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sweep_is_stopped_and_taken_up_again() {
    let place = Place::new();
    let service = place.open().await;
    let dataset = import(&service, "weather.csv", &weather(120)).await;
    let new = NewSweep { run: small_run(dataset.id, 6), space: space(&[("r", "2, 4")], None), seed: 0 };
    let id = service.sweeps.start(new).await.unwrap();
    let runs = service.sweeps.get(id).await.unwrap().summary.runs;
    crate::support::wait_for(&service, runs[0], 0, |event| matches!(event, RunEvent::Step(_))).await;
    service.sweeps.cancel(id).await.unwrap();
    assert_eq!(told(service.sweeps.cancel(id).await.unwrap_err()).kind, ErrorKind::Conflict);
    wait_for_status(&service, runs[0], 0, RunStatus::Cancelled).await;
    assert_eq!(service.runs.get(runs[1]).await.unwrap().summary.status, RunStatus::Cancelled);
    assert_eq!(service.sweeps.get(id).await.unwrap().summary.status, SweepStatus::Cancelled);

    service.sweeps.resume(id).await.unwrap();
    let sweep = until(&service, id, |sweep| sweep.summary.status == SweepStatus::Finished).await;
    assert!(sweep.trials.iter().all(|trial| trial.status == RunStatus::Finished), "{sweep:?}");
    assert_eq!(service.sweeps.list().await.unwrap(), [sweep.summary]);
    assert_eq!(told(service.sweeps.resume(id).await.unwrap_err()).kind, ErrorKind::Conflict);
    service.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_swept_is_refused_and_leaves_nothing() {
    let place = Place::new();
    let service = place.open().await;
    let dataset = import(&service, "weather.csv", &weather(60)).await;
    let run = small_run(dataset.id, 2);
    let refused = async |new: NewSweep| {
        let error = told(service.sweeps.start(new).await.unwrap_err());
        assert_eq!(error.kind, ErrorKind::Invalid, "{error}");
        error.message
    };
    let of = |space: Space| NewSweep { run: run.clone(), space, seed: 0 };
    let mut blind = of(space(&[("r", "2, 4")], None));
    blind.run.split = Split::Percent { train: 70.0, validation: 0.0, test: 30.0, seed: 1 };
    assert!(refused(blind).await.contains("chooses by the validation rows"));
    let late = Halving { rungs: vec![2], unit: RungUnit::Epochs, keep_one_of: 2 };
    assert!(refused(of(space(&[("r", "2, 4")], Some(late)))).await.contains("no rung at epoch 2"));
    let mut further = of(space(&[("r", "2, 4")], None));
    further.run.start_from = Some(domain::catalogue::AdapterSource::Run(1));
    assert!(refused(further).await.contains("adapter that training starts from"));
    // The first trial alone could train.
    let weights = of(space(&[("class_weights", "none | sunny=2 | snowy=2")], None));
    assert!(refused(weights).await.contains("snowy"));
    assert_eq!((service.runs.list().await.unwrap().len(), service.sweeps.list().await.unwrap().len()), (0, 0));
    assert_eq!(told(service.sweeps.get(99).await.unwrap_err()).kind, ErrorKind::NotFound);
    assert_eq!(told(service.sweeps.get(0).await.unwrap_err()).kind, ErrorKind::NotFound);
    assert!(service.sweeps.start_seeds(run, 1).await.is_err());
    service.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn several_seeds_are_one_group_on_the_same_rows() {
    let place = Place::new();
    let service = place.open().await;
    let dataset = import(&service, "weather.csv", &weather(80)).await;
    let id = service.sweeps.start_seeds(small_run(dataset.id, 1), 3).await.unwrap();
    let sweep = until(&service, id, |sweep| sweep.summary.status == SweepStatus::Finished).await;
    assert_eq!(sweep.summary.kind, SweepKind::Seeds);
    assert_eq!(sweep.trials.iter().map(|trial| trial.values[0].as_str()).collect::<Vec<_>>(), ["42", "43", "44"]);
    let mut manifests = Vec::new();
    for trial in &sweep.trials {
        manifests.push(service.manifests.get(trial.run).await.unwrap().unwrap());
    }
    assert!(manifests.windows(2).all(|pair| pair[0].test == pair[1].test && pair[0].train == pair[1].train));
    assert!(manifests.windows(2).all(|pair| pair[0].spec.seed != pair[1].spec.seed));
    service.shutdown().await;
}
