use super::super::words;
use crate::components::{BeforeAndAfterText, LabelName, MarkedText};
use crate::difference::{Grain, Stretch, compare, occurrences};
use crate::format;
use domain::finding::{FindingGroup, FindingKind};
use domain::version::NumberedRow;
use leptos::prelude::*;

/// Of a text, which may have millions of characters.
pub const SHOWN_CHARS: usize = 4000;

/// Each of the finding's groups is one text on several rows.
pub fn is_one_text(kind: FindingKind) -> bool {
    matches!(kind, FindingKind::Contradictions | FindingKind::ExactDuplicates)
}

/// Rows that belong together, in the way that shows what is the matter with them.
#[component]
pub fn GroupView(
    kind: FindingKind,
    group: FindingGroup,
    /// In the dataset's order, which gives the colours.
    labels: Vec<String>,
) -> impl IntoView {
    let note = match kind {
        FindingKind::LanguageMix => words::language_name(&group.note),
        _ => group.note.clone(),
    };
    let note = (!note.is_empty()).then(|| view! { <p class="group-note small">{note}</p> });
    let more = (group.more > 0).then(|| {
        let words = format!("and {}", format::counted(group.more, "more row", "more rows"));
        view! { <p class="small soft">{words}</p> }
    });
    let mut group = group;
    for row in &mut group.rows {
        row.text = format::excerpt(&row.text, SHOWN_CHARS);
    }
    let repaired = group.repaired.map(|text| format::excerpt(&text, SHOWN_CHARS));
    let body = match (kind, repaired) {
        (kind, _) if is_one_text(kind) => one_text(&group.rows, &labels),
        (_, Some(repaired)) => rewritten(&group.rows, repaired, &labels),
        (FindingKind::NearDuplicates | FindingKind::Leakage, _) => alike(&group.rows, &labels),
        (FindingKind::Giveaways, _) => with_word(&group.rows, &group.note, &labels),
        _ => group.rows.iter().map(|row| text_line(plain(&row.text), row, &labels)).collect_view().into_any(),
    };
    view! { <article class="group">{note} {body} {more}</article> }.into_any()
}

/// The text once, and every row's label with its line.
fn one_text(rows: &[NumberedRow], labels: &[String]) -> AnyView {
    let text = rows.first().map(|row| row.text.clone()).unwrap_or_default();
    let chips = rows
        .iter()
        .map(|row| {
            view! {
                <li class="group-chip">
                    {label(row, labels)} <span class="small soft number">{place(row)}</span>
                </li>
            }
        })
        .collect_view();
    view! {
        <p class="group-text">{text}</p>
        <ul class="group-chips">{chips}</ul>
    }
    .into_any()
}

/// The first row before and after the repair, and the others as they are.
fn rewritten(rows: &[NumberedRow], repaired: String, labels: &[String]) -> AnyView {
    let Some((first, others)) = rows.split_first() else { return ().into_any() };
    let others = others.iter().map(|row| text_line(plain(&row.text), row, labels)).collect_view();
    view! {
        <div class="group-row">
            <BeforeAndAfterText before=first.text.clone() after=repaired />
            <GroupPlace row=first.clone() labels=labels.to_vec() />
        </div>
        {others}
    }
    .into_any()
}

/// In each text what differs from the first; in the first what the second does not have.
fn alike(rows: &[NumberedRow], labels: &[String]) -> AnyView {
    let Some(first) = rows.first() else { return ().into_any() };
    let second = rows.get(1).map_or(first.text.as_str(), |row| row.text.as_str());
    let lines = rows
        .iter()
        .enumerate()
        .map(|(index, row)| {
            let stretches = match index {
                0 => compare(&first.text, second, Grain::Words).0,
                _ => compare(&first.text, &row.text, Grain::Words).1,
            };
            text_line(stretches, row, labels)
        })
        .collect_view();
    view! { {lines} }.into_any()
}

/// The word that gives the label away is marked.
fn with_word(rows: &[NumberedRow], word: &str, labels: &[String]) -> AnyView {
    let lines = rows.iter().map(|row| text_line(occurrences(&row.text, &[word]), row, labels)).collect_view();
    view! { {lines} }.into_any()
}

fn text_line(text: Vec<Stretch>, row: &NumberedRow, labels: &[String]) -> AnyView {
    view! {
        <div class="group-row">
            <p class="group-text">
                <MarkedText stretches=text />
            </p>
            <GroupPlace row=row.clone() labels=labels.to_vec() />
        </div>
    }
    .into_any()
}

/// A row's label and where it stands.
#[component]
fn GroupPlace(row: NumberedRow, labels: Vec<String>) -> impl IntoView {
    view! {
        <p class="group-place small">
            {label(&row, &labels)} " " <span class="soft number">{place(&row)}</span>
        </p>
    }
    .into_any()
}

fn label(row: &NumberedRow, labels: &[String]) -> AnyView {
    let index = labels.iter().position(|label| *label == row.label);
    view! { <LabelName index name=row.label.clone() /> }.into_any()
}

fn place(row: &NumberedRow) -> String {
    match row.part {
        Some(part) => format!("line {}, {}", format::count(row.line), part.name()),
        None => format!("line {}", format::count(row.line)),
    }
}

fn plain(text: &str) -> Vec<Stretch> {
    vec![Stretch { text: text.to_owned(), differs: false }]
}
