//! Numbers and names as sentences have them.

use super::groups::Groups;
use domain::finding::{Finding, FindingFact, FindingKind, Repair, RepairOffer, Severity};

/// A finding with its rows.
pub(super) struct Found {
    pub finding: Finding,
    pub groups: Groups,
}

impl Found {
    /// Facts, repairs and groups are added to it.
    pub fn new(kind: FindingKind, severity: Severity, headline: String, why: &str) -> Self {
        let finding = Finding {
            kind,
            severity,
            rows: 0,
            groups: 0,
            headline,
            why: why.to_string(),
            facts: Vec::new(),
            repairs: Vec::new(),
        };
        Self { finding, groups: Groups::default() }
    }

    /// Of all the rows that the groups name.
    pub fn with_groups(mut self, groups: Groups) -> Self {
        self.finding.rows = groups.ids().len() as u64;
        self.finding.groups = groups.len() as u64;
        self.groups = groups;
        self
    }

    /// A number with its name; those that are zero say nothing and are left out.
    pub fn with_fact(mut self, name: impl Into<String>, count: usize) -> Self {
        if count > 0 && self.finding.facts.len() < MAX_FACTS {
            self.finding.facts.push(FindingFact { name: name.into(), count: count as u64 });
        }
        self
    }

    pub fn with_repair(mut self, repair: Repair, title: impl Into<String>) -> Self {
        self.finding.repairs.push(RepairOffer { repair, title: title.into() });
        self
    }
}

const MAX_FACTS: usize = 20;

/// `5,842`
pub(super) fn number(number: usize) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// `5,842 rows`, `1 row`
pub(super) fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{} {}", number(count), if count == 1 { one } else { many })
}

pub(super) fn rows(count: usize) -> String {
    counted(count, "row", "rows")
}

/// `60 %`, `2.1 %`; never 0 % or 100 % of what is neither none nor all.
pub(super) fn percent(part: usize, whole: usize) -> String {
    let share = if whole == 0 { 0.0 } else { 100.0 * part as f64 / whole as f64 };
    match share {
        _ if part == 0 || part == whole => format!("{share:.0} %"),
        share if share < 0.1 => "less than 0.1 %".to_string(),
        share if share > 99.9 => "more than 99.9 %".to_string(),
        share if !(10.0..=90.0).contains(&share) => format!("{share:.1} %"),
        share => format!("{share:.0} %"),
    }
}

/// `"a", "b" and "c"`; of many only the first.
pub(super) fn quoted_list(names: &[&str]) -> String {
    const TOLD: usize = 5;
    let mut quoted: Vec<String> = names.iter().take(TOLD).map(|name| format!("\"{name}\"")).collect();
    if names.len() > TOLD {
        quoted.push(format!("{} more", names.len() - TOLD));
    }
    match quoted.split_last() {
        Some((last, head)) if !head.is_empty() => format!("{} and {last}", head.join(", ")),
        _ => quoted.concat(),
    }
}

/// At least this share of all rows makes a finding a warning instead of a note.
pub(super) const WEIGHTY_SHARE: f64 = 0.01;

/// How much a finding on so many rows matters that costs a little on each.
pub(super) fn severity_by_share(part: usize, whole: usize) -> Severity {
    if part as f64 >= WEIGHTY_SHARE * whole as f64 { Severity::Warning } else { Severity::Note }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_for_people() {
        assert_eq!([0, 999, 1000, 1_234_567].map(number), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!((rows(1), rows(5842)), ("1 row".to_string(), "5,842 rows".to_string()));
        let shares = [(514, 860), (5328, 5842), (1, 2000), (1999, 2000), (0, 7), (7, 7), (0, 0), (1, 3)];
        let told = shares.map(|(part, whole)| percent(part, whole));
        assert_eq!(told, ["60 %", "91.2 %", "less than 0.1 %", "more than 99.9 %", "0 %", "100 %", "0 %", "33 %"]);
        assert_eq!(quoted_list(&["a"]), "\"a\"");
        assert_eq!(quoted_list(&["a", "b", "c"]), "\"a\", \"b\" and \"c\"");
        assert!(quoted_list(&["a"; 9]).ends_with("and 4 more"));
    }
}
