//! Deployments in memory: where requests go, and what was counted since the server has started.

use super::Served;
use domain::catalogue::AdapterSource;
use domain::deployment::figures::{Agreement, AnswerCounts, DeploymentFigures, LatencyHistogram};
use domain::deployment::goes_to_canary;
use domain::prediction::Classification;
use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Minutes of which the texts are told.
const MINUTES: usize = 60;
/// Versions whose answers are kept apart: those of now, and the last ones before them.
const VERSIONS: usize = 4;

/// Where requests go.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Route {
    pub version: AdapterSource,
    pub canary: Option<(AdapterSource, u32)>,
}

pub struct Live {
    route: Route,
    since_ms: i64,
    /// Requests that were given a way.
    routed: u64,
    requests: u64,
    texts: u64,
    refused: u64,
    latencies: LatencyHistogram,
    /// (minute, texts), the newest last.
    minutes: VecDeque<(i64, u64)>,
    /// The last used one stands first.
    versions: Vec<(AdapterSource, AnswerCounts)>,
    agreement: Agreement,
}

#[derive(Default)]
pub struct Lives(Mutex<HashMap<String, Live>>);

impl Lives {
    pub fn put(&self, name: String, route: Route, now_ms: i64) {
        let live = Live {
            route,
            since_ms: now_ms,
            routed: 0,
            requests: 0,
            texts: 0,
            refused: 0,
            latencies: LatencyHistogram::default(),
            minutes: VecDeque::new(),
            versions: Vec::new(),
            agreement: Agreement::default(),
        };
        self.lock().insert(name, live);
    }

    /// These and no others; what was counted of those that stay is kept.
    pub fn take_over(&self, routes: HashMap<String, Route>, now_ms: i64) {
        self.lock().retain(|name, _| routes.contains_key(name));
        for (name, route) in routes {
            let is_there = self.lock().contains_key(&name);
            if is_there {
                self.set_route(&name, route);
            } else {
                self.put(name, route, now_ms);
            }
        }
    }

    pub fn remove(&self, name: &str) {
        self.lock().remove(name);
    }

    pub fn set_route(&self, name: &str, route: Route) {
        let mut lives = self.lock();
        let Some(live) = lives.get_mut(name) else { return };
        if live.route.canary.map(|(canary, _)| canary) != route.canary.map(|(canary, _)| canary) {
            live.agreement = Agreement::default();
            live.routed = 0;
        }
        live.route = route;
    }

    /// Where the next request goes: with a canary only if it is the canary's turn.
    pub fn next_route(&self, name: &str) -> Option<Route> {
        let mut lives = self.lock();
        let live = lives.get_mut(name)?;
        let number = live.routed;
        live.routed += 1;
        let canary = live.route.canary.filter(|(_, percent)| goes_to_canary(number, *percent));
        Some(Route { canary, ..live.route })
    }

    pub fn count(&self, name: &str, served: &Served, now_ms: i64) {
        let mut lives = self.lock();
        let Some(live) = lives.get_mut(name) else { return };
        live.requests += 1;
        live.latencies.add(served.latency_ms);
        live.count_answers(served.version, &served.classification, now_ms);
    }

    pub fn count_streamed(&self, name: &str, version: AdapterSource, answers: &Classification, now_ms: i64) {
        if let Some(live) = self.lock().get_mut(name) {
            live.count_answers(version, answers, now_ms);
        }
    }

    pub fn count_refusal(&self, name: &str) {
        if let Some(live) = self.lock().get_mut(name) {
            live.refused += 1;
        }
    }

    /// Whether both versions say the same of the texts, by the names of the labels: their order may differ.
    pub fn compare(&self, name: &str, canary: AdapterSource, old: &Classification, new: &Classification) {
        let mut lives = self.lock();
        let Some(live) = lives.get_mut(name) else { return };
        if live.route.canary.is_none_or(|(now, _)| now != canary) {
            return;
        }
        for (old_answer, new_answer) in old.predictions.iter().zip(&new.predictions) {
            let same = old.labels.get(old_answer.label) == new.labels.get(new_answer.label);
            live.agreement.texts += 1;
            live.agreement.same += u64::from(same);
        }
    }

    /// The figures without those of versions, and the answers of the version and of the canary.
    #[allow(clippy::type_complexity)] // two things that only the caller puts together
    pub fn figures(
        &self,
        name: &str,
        now_ms: i64,
    ) -> Option<(DeploymentFigures, Vec<(AdapterSource, Option<AnswerCounts>)>)> {
        let lives = self.lock();
        let live = lives.get(name)?;
        let this_minute = now_ms / 60_000;
        let texts_in = |minute| live.minutes.iter().find(|(there, _)| *there == minute).map_or(0, |(_, texts)| *texts);
        let figures = DeploymentFigures {
            since_ms: live.since_ms,
            requests: live.requests,
            texts: live.texts,
            refused: live.refused,
            p50_ms: live.latencies.quantile(0.5),
            p95_ms: live.latencies.quantile(0.95),
            p99_ms: live.latencies.quantile(0.99),
            texts_per_minute: (0..MINUTES as i64).rev().map(|ago| texts_in(this_minute - ago)).collect(),
            versions: Vec::new(),
            agreement: live.agreement,
        };
        let asked = [Some(live.route.version), live.route.canary.map(|(canary, _)| canary)];
        let answers =
            |version| live.versions.iter().find(|(there, _)| *there == version).map(|(_, counts)| counts.clone());
        Some((figures, asked.into_iter().flatten().map(|version| (version, answers(version))).collect()))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Live>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Live {
    fn count_answers(&mut self, version: AdapterSource, answers: &Classification, now_ms: i64) {
        let texts = answers.predictions.len() as u64;
        self.texts += texts;
        let minute = now_ms / 60_000;
        match self.minutes.back_mut() {
            Some((there, sum)) if *there == minute => *sum += texts,
            _ => self.minutes.push_back((minute, texts)),
        }
        while self.minutes.len() > MINUTES {
            self.minutes.pop_front();
        }
        let counts = match self.versions.iter().position(|(there, _)| *there == version) {
            Some(place) => self.versions.remove(place).1,
            None => AnswerCounts::of_labels(answers.labels.len()),
        };
        self.versions.insert(0, (version, counts));
        self.versions.truncate(VERSIONS);
        let counts = &mut self.versions[0].1;
        answers.predictions.iter().for_each(|prediction| counts.add(prediction));
    }
}
