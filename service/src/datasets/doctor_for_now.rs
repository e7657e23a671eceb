#![allow(unused)]
use crate::datasets::{Changes, Snapshot};
use crate::error::{Result, ServiceError};
use domain::error::UserError;
use domain::finding::*;
use domain::version::*;
use std::collections::{BTreeMap, HashSet};
use std::ops::ControlFlow;
use std::path::Path;

pub struct Surroundings<'a> {
    pub rejected: u64,
    pub tokens: Option<&'a (dyn Fn(&str) -> usize + Sync)>,
    pub max_length: usize,
    pub frozen_test: Option<&'a HashSet<RowId>>,
}
#[derive(Debug)]
pub struct Report {
    pub examination: Examination,
    pub groups: BTreeMap<FindingKind, Groups>,
}
#[derive(Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct Groups {
    ids: Vec<RowId>,
    ends: Vec<u32>,
    notes: Vec<String>,
}
impl Groups {
    pub fn len(&self) -> usize {
        self.ends.len()
    }
    pub fn ids(&self) -> &[RowId] {
        &self.ids
    }
    pub fn rows(&self, n: usize) -> &[RowId] {
        let begin = if n == 0 { 0 } else { self.ends[n - 1] as usize };
        &self.ids[begin..self.ends[n] as usize]
    }
    pub fn note(&self, n: usize) -> &str {
        &self.notes[n]
    }
    pub fn write(&self, path: &Path) -> Result<()> {
        crate::files::write_whole(path, |w| crate::files::write_json_line(w, self))
    }
    pub fn read(path: &Path) -> Result<Self> {
        Ok(serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap())
    }
}
pub fn examine(
    snapshot: &Snapshot,
    s: &Surroundings,
    version: VersionNumber,
    p: &mut dyn FnMut(&str, f64) -> ControlFlow<()>,
) -> Result<Report> {
    let _ = p("duplicates", 0.1);
    let mut seen = HashSet::new();
    let mut g = Groups::default();
    for i in 0..snapshot.len() {
        if !seen.insert(domain::dataset::normalise(snapshot.text(i))) {
            g.ids.push(snapshot.id(i));
            g.ends.push(g.ids.len() as u32);
            g.notes.push(String::new());
        }
    }
    let f = Finding {
        kind: FindingKind::ExactDuplicates,
        severity: Severity::Warning,
        rows: g.ids.len() as u64,
        groups: g.len() as u64,
        headline: "dups".into(),
        why: "w".into(),
        facts: vec![],
        repairs: vec![RepairOffer { repair: Repair::DropRows, title: "Drop".into() }],
    };
    let examination = Examination {
        version,
        rows: snapshot.len() as u64,
        rejected: s.rejected,
        ceiling: 1.0,
        health: Health { verdict: Verdict::Good, summary: "ok".into(), sentences: vec![], clean_rows: 0 },
        findings: if g.ids.is_empty() { vec![] } else { vec![f] },
        charts: DatasetCharts::default(),
        seconds: 0.1,
    };
    let mut groups = BTreeMap::new();
    if !g.ids.is_empty() {
        groups.insert(FindingKind::ExactDuplicates, g);
    }
    Ok(Report { examination, groups })
}
pub fn repair(_s: &Snapshot, _k: FindingKind, r: &Repair, g: &Groups) -> Result<Changes> {
    if !matches!(r, Repair::DropRows) {
        return Err(UserError::invalid("no").into());
    }
    Ok(g.ids().iter().map(|i| (*i, RowChange::Dropped)).collect())
}
pub fn repaired_text(_k: FindingKind, _r: &Repair, _t: &str) -> Option<String> {
    None
}
