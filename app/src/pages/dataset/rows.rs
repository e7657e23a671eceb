mod editor;
mod filter;
mod grid;
mod scroller;
mod store;

use super::open::{Examined, OpenDataset};
use super::words;
use crate::api::versions::query_rows;
use crate::components::{ErrorNotice, LabelName, Loading, Pager, TableScroll};
use crate::error::ApiError;
use crate::format;
use domain::dataset::DatasetId;
use domain::finding::FindingKind;
use domain::split::Part;
use domain::version::{RowQuery, RowSlice, VersionNumber};
use filter::RowFilter;
use grid::RowGrid;
use leptos::prelude::*;
use leptos_router::hooks::use_query_map;
use leptos_router::params::ParamsMap;
use store::{RowStore, WINDOW};

/// Of a text in the plain table.
const SHOWN_CHARS: usize = 2000;

/// The rows of the shown version: search, filters, and all that match. What is asked for lives in the address: it can be
/// bookmarked, sent on, and works without a script, then a page at a time.
#[component]
pub fn DatasetRows(dataset: OpenDataset, examined: Examined) -> impl IntoView {
    let query = use_query_map();
    let asked = Memo::new(move |_| read(&query.read()));
    let first = Resource::new(
        || (),
        move |()| {
            let version = Some(dataset.shown.get_untracked());
            query_rows(dataset.id, RowQuery { version, ..asked.get_untracked() })
        },
    );
    view! {
        <section class="card" id="rows" aria-labelledby="rows-title">
            <header class="card-head">
                <h2 class="card-title" id="rows-title">
                    "Rows"
                </h2>
            </header>
            <Transition fallback=|| view! { <Loading what="rows" /> }>
                {move || {
                    first.get().map(|first| view! { <Rows dataset examined asked first /> })
                }}
            </Transition>
        </section>
    }
    .into_any()
}

#[component]
fn Rows(
    dataset: OpenDataset,
    examined: Examined,
    asked: Memo<RowQuery>,
    first: Result<RowSlice, ApiError>,
) -> impl IntoView {
    let (first, trouble) = match first {
        Ok(first) => (first, None),
        Err(error) => {
            (RowSlice { version: dataset.shown.get_untracked(), first: 0, rows: Vec::new(), matching: 0 }, Some(error))
        }
    };
    let question = Memo::new(move |_| {
        let RowQuery { search, label, part, finding, .. } = asked.get();
        RowQuery { version: Some(dataset.shown.get()), search, label, part, finding, first: 0, count: WINDOW }
    });
    let has_parts = asked.read_untracked().part.is_some() || first.rows.iter().any(|row| row.part.is_some());
    let store = RowStore::new(dataset.id, question, &first, trouble);
    // Which row has which finding is known then only.
    Effect::new(move |before: Option<bool>| {
        let is_current = examined.is_current.get();
        if is_current && before == Some(false) {
            store.ask_anew(true);
        }
        is_current
    });
    let is_scripted = RwSignal::new(false);
    // Effects run in the browser only: there the page of rows gives way to all of them.
    Effect::new(move |_| is_scripted.set(true));
    let from = first.first / WINDOW * WINDOW;
    view! {
        <RowFilter dataset asked has_parts />
        <Found dataset asked store />
        <Show
            when=move || is_scripted.get()
            fallback=move || view! { <PlainRows dataset asked=asked.get_untracked() slice=first.clone() /> }
        >
            <RowGrid dataset store question from />
        </Show>
    }
    .into_any()
}

/// How many rows match what.
#[component]
fn Found(dataset: OpenDataset, asked: Memo<RowQuery>, store: RowStore) -> impl IntoView {
    let all = move || address(dataset.id, pinned(dataset), &RowQuery::default(), 0);
    view! {
        <p class="row-found soft small" role="status">
            {move || found_in_words(store.matching.get(), &asked.read())}
            {move || is_filtered(&asked.read()).then(|| view! { " · " <a href=all()>"Show all"</a> })}
        </p>
        {move || store.trouble.get().map(|error| view! { <ErrorNotice error /> })}
    }
    .into_any()
}

fn found_in_words(matching: u64, asked: &RowQuery) -> String {
    let mut words = format::counted(matching, "row", "rows");
    let mut conditions = Vec::new();
    if !asked.search.is_empty() {
        conditions.push(format!("“{}”", asked.search));
    }
    if let Some(label) = &asked.label {
        conditions.push(format!("the label {label}"));
    }
    if let Some(part) = asked.part {
        conditions.push(format!("the part {}", part.name()));
    }
    if let Some(finding) = asked.finding {
        conditions.push(format!("the finding “{}”", words::finding_name(finding)));
    }
    if !conditions.is_empty() {
        words = format!("{words} with {}", conditions.join(" and "));
    }
    words
}

fn is_filtered(asked: &RowQuery) -> bool {
    !asked.search.is_empty() || asked.label.is_some() || asked.part.is_some() || asked.finding.is_some()
}

/// One page of rows as a plain table, which needs no script.
#[component]
fn PlainRows(dataset: OpenDataset, asked: RowQuery, slice: RowSlice) -> impl IntoView {
    let labels = label_names(dataset);
    let RowSlice { first, rows, matching, .. } = slice;
    let version = pinned(dataset);
    let rows = rows
        .into_iter()
        .map(|row| {
            let index = labels.iter().position(|label| *label == row.label);
            view! {
                <tr>
                    <td class="number soft">{row.line}</td>
                    <td class="text">{format::excerpt(&row.text, SHOWN_CHARS)}</td>
                    <td>
                        <LabelName index name=row.label />
                    </td>
                </tr>
            }
        })
        .collect_view();
    view! {
        <div class="plain-rows" hidden=matching == 0>
            <TableScroll label="Rows">
                <table class="table">
                    <thead>
                        <tr>
                            <th scope="col" class="number">
                                "Line"
                            </th>
                            <th scope="col">"Text"</th>
                            <th scope="col">"Label"</th>
                        </tr>
                    </thead>
                    <tbody>{rows}</tbody>
                </table>
            </TableScroll>
        </div>
        <Pager
            page=first / WINDOW
            page_size=WINDOW
            total=matching
            what="rows"
            href=move |page| address(dataset.id, version, &asked, page)
        />
    }
    .into_any()
}

/// Labels of the shown version in their order, which gives the colours.
fn label_names(dataset: OpenDataset) -> Vec<String> {
    dataset.version.read_untracked().labels.iter().map(|count| count.label.clone()).collect()
}

/// The version as the address names it: not at all where it is the newest.
fn pinned(dataset: OpenDataset) -> Option<VersionNumber> {
    (!dataset.is_newest()).then(|| dataset.shown.get())
}

/// The word of a part in the address.
fn part_word(part: Part) -> &'static str {
    match part {
        Part::Train => "train",
        Part::Validation => "validation",
        Part::Test => "test",
    }
}

const PARTS: [Part; 3] = [Part::Train, Part::Validation, Part::Test];

/// What the address asks for; pages count from 1 there.
fn read(query: &ParamsMap) -> RowQuery {
    let page = query.get("page").and_then(|page| page.parse::<u64>().ok()).unwrap_or(1).saturating_sub(1);
    RowQuery {
        version: None,
        search: query.get("q").unwrap_or_default().trim().to_string(),
        label: query.get("label").filter(|label| !label.is_empty()),
        part: query.get("part").and_then(|word| PARTS.into_iter().find(|part| part_word(*part) == word)),
        finding: query.get("finding").and_then(|word| FindingKind::parse(&word)),
        first: page.saturating_mul(WINDOW),
        count: WINDOW,
    }
}

/// Where those rows stand; `page` counts from 0.
pub fn address(id: DatasetId, version: Option<VersionNumber>, asked: &RowQuery, page: u64) -> String {
    let mut query = ParamsMap::new();
    if let Some(version) = version {
        query.insert("version", version.to_string());
    }
    if !asked.search.is_empty() {
        query.insert("q", asked.search.clone());
    }
    if let Some(label) = &asked.label {
        query.insert("label", label.clone());
    }
    if let Some(part) = asked.part {
        query.insert("part", part_word(part).to_string());
    }
    if let Some(finding) = asked.finding {
        query.insert("finding", finding.as_str().to_string());
    }
    if page > 0 {
        query.insert("page", (page + 1).to_string());
    }
    format!("/datasets/{id}{}#rows", query.to_query_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(pairs: &[(&str, &str)]) -> ParamsMap {
        pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
    }

    #[test]
    fn the_address_holds_the_whole_question() {
        let asked = RowQuery {
            search: "a & b".into(),
            label: Some("x=y".into()),
            part: Some(Part::Test),
            finding: Some(FindingKind::NearDuplicates),
            ..RowQuery::default()
        };
        // Outside the browser the underscore is written as %5F too, which reads back the same.
        let address = address(7, Some(2), &asked, 2).replace("%5F", "_");
        let expected = "/datasets/7?version=2&q=a%20%26%20b&label=x%3Dy&part=test&finding=near_duplicates&page=3#rows";
        assert_eq!(address, expected);
        let pairs = [("q", "a & b"), ("label", "x=y"), ("part", "test"), ("finding", "near_duplicates"), ("page", "3")];
        assert_eq!(read(&query(&pairs)), RowQuery { first: 2 * WINDOW, count: WINDOW, ..asked });
    }

    #[test]
    fn nonsense_in_the_address_asks_for_the_first_rows_of_all() {
        let asked = read(&query(&[("page", "-3"), ("label", ""), ("part", "attic"), ("finding", "gold")]));
        assert_eq!(asked, RowQuery { count: WINDOW, ..RowQuery::default() });
        let asked = read(&query(&[("page", "18446744073709551615")]));
        assert_eq!(asked.first, u64::MAX);
    }

    #[test]
    fn what_was_found_is_said_with_its_conditions() {
        let asked = RowQuery { search: "x".into(), label: Some("a".into()), ..RowQuery::default() };
        assert_eq!(found_in_words(1, &asked), "1 row with “x” and the label a");
        assert_eq!(found_in_words(1200, &RowQuery::default()), "1,200 rows");
    }
}
