use crate::api::runs::{RowFilter, TestRowPage, list_test_rows};
use crate::components::{Card, ErrorNotice, LabelName, Loading, Pager, TableScroll};
use crate::format;
use domain::prediction::Prediction;
use domain::run::{RunId, TestRow};
use leptos::prelude::*;
use leptos_router::hooks::use_query_map;

/// The test rows one by one: truth, answer before, answer after. The filter and the page stand in the address.
#[component]
pub fn TestRows(run: RunId, labels: Vec<String>) -> impl IntoView {
    let query = use_query_map();
    let shown = Memo::new(move |_| {
        let query = query.read();
        let filter = query.get_str("rows").and_then(RowFilter::parse).unwrap_or_default();
        (filter, query.get_str("page").and_then(|page| page.parse::<u64>().ok()).unwrap_or(0))
    });
    let rows = Resource::new(move || shown.get(), move |(filter, page)| list_test_rows(run, filter, page));
    let labels = StoredValue::new(labels);
    view! {
        <Card title="Test rows" note="What the base and the adapter answered for every test row.">
            <div id="test-rows" class="stack">
                <RowFilters run shown />
                <Transition fallback=|| {
                    view! { <Loading what="test rows" /> }
                }>
                    {move || Suspend::new(async move {
                        match rows.await {
                            Ok(page) => view! { <RowTable run page labels=labels.get_value() /> }.into_any(),
                            Err(error) => view! { <ErrorNotice error /> }.into_any(),
                        }
                    })}
                </Transition>
            </div>
        </Card>
    }
    .into_any()
}

#[component]
fn RowFilters(run: RunId, shown: Memo<(RowFilter, u64)>) -> impl IntoView {
    let links = RowFilter::ALL
        .into_iter()
        .map(|filter| {
            let here = move || (shown.get().0 == filter).then_some("true");
            view! {
                <a class="filter-link" href=address(run, filter, 0) aria-current=here>
                    {filter.title()}
                </a>
            }
        })
        .collect_view();
    view! { <nav class="filter-links" aria-label="Which test rows are shown">{links}</nav> }.into_any()
}

#[component]
fn RowTable(run: RunId, page: TestRowPage, labels: Vec<String>) -> impl IntoView {
    if page.rows.is_empty() {
        return view! { <p class="soft">"No test row is of this kind."</p> }.into_any();
    }
    let TestRowPage { rows, matching, page, page_size, filter } = page;
    let lines = rows.into_iter().map(|row| line(row, &labels)).collect_view();
    view! {
        <TableScroll label="Test rows">
            <table class="table table-restack test-rows">
                <thead>
                    <tr>
                        <th scope="col">"Text"</th>
                        <th scope="col">"True label"</th>
                        <th scope="col">"Before"</th>
                        <th scope="col">"After"</th>
                    </tr>
                </thead>
                <tbody>{lines}</tbody>
            </table>
        </TableScroll>
        <Pager page page_size total=matching what="test rows" href=move |page| address(run, filter, page) />
    }
    .into_any()
}

fn line(row: TestRow, labels: &[String]) -> impl IntoView + use<> {
    let name = |index: usize| labels.get(index).cloned().unwrap_or_default();
    let truth = row.truth;
    let answer = |prediction: Option<Prediction>| {
        prediction.map(|prediction| {
            let right = prediction.label == truth;
            let (class, word) = if right { ("answer is-right", "right") } else { ("answer is-wrong", "wrong") };
            view! {
                <span class=class>
                    <span aria-hidden="true">{if right { "✓" } else { "✗" }}</span>
                    <span class="visually-hidden">{word}</span>
                    {name(prediction.label)}
                    <span class="soft number">{format::percent(f64::from(prediction.confidence()))}</span>
                </span>
            }
        })
    };
    view! {
        <tr>
            <td class="text wide">{row.text}</td>
            <td data-name="True">
                <LabelName index=Some(truth) name=name(truth) />
            </td>
            <td data-name="Before">{answer(row.before)}</td>
            <td data-name="After">{answer(row.after)}</td>
        </tr>
    }
}

fn address(run: RunId, filter: RowFilter, page: u64) -> String {
    format!("/runs/{run}?rows={}&page={page}#test-rows", filter.as_str())
}
