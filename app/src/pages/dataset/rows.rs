use crate::api::datasets::dataset_rows;
use crate::components::{ErrorNotice, LabelName, Loading, Pager, TableScroll};
use crate::format;
use domain::dataset::{DatasetId, RowPage};
use leptos::prelude::*;
use leptos::{ev, html};
use leptos_router::NavigateOptions;
use leptos_router::hooks::{use_navigate, use_query_map};
use leptos_router::params::ParamsMap;

/// What of the rows is shown. It lives in the address: it can be bookmarked, sent on, and works without a script.
#[derive(Clone, Debug, Default, PartialEq)]
struct RowQuery {
    search: String,
    label: Option<String>,
    /// Counted from 0; in the address from 1.
    page: u64,
}

impl RowQuery {
    fn read(query: &ParamsMap) -> Self {
        Self {
            search: query.get("q").unwrap_or_default().trim().to_string(),
            label: query.get("label").filter(|label| !label.is_empty()),
            page: query.get("page").and_then(|page| page.parse::<u64>().ok()).unwrap_or(1).saturating_sub(1),
        }
    }

    fn address(&self, id: DatasetId, page: u64) -> String {
        let mut query = ParamsMap::new();
        if !self.search.is_empty() {
            query.insert("q", self.search.clone());
        }
        if let Some(label) = &self.label {
            query.insert("label", label.clone());
        }
        if page > 0 {
            query.insert("page", (page + 1).to_string());
        }
        format!("/datasets/{id}{}#rows", query.to_query_string())
    }
}

/// The rows of a dataset with a search, a filter by label, and pages.
#[component]
pub fn DatasetRows(
    id: DatasetId,
    /// In the dataset's order, which gives the colours.
    labels: Vec<String>,
) -> impl IntoView {
    let query = use_query_map();
    let asked = Memo::new(move |_| RowQuery::read(&query.read()));
    let rows = Resource::new(
        move || asked.get(),
        move |asked| async move { dataset_rows(id, asked.search, asked.label, asked.page).await },
    );
    let (search, label) = (NodeRef::<html::Input>::new(), NodeRef::<html::Select>::new());
    let navigate = use_navigate();
    let on_submit = move |event: ev::SubmitEvent| {
        event.prevent_default();
        let (Some(search), Some(label)) = (search.get_untracked(), label.get_untracked()) else { return };
        let wanted = RowQuery {
            search: search.value().trim().to_string(),
            label: Some(label.value()).filter(|label| !label.is_empty()),
            page: 0,
        };
        navigate(&wanted.address(id, 0), NavigateOptions { scroll: false, ..Default::default() });
    };
    let options = labels
        .iter()
        .map(|label| {
            let value = label.clone();
            let is_asked = Memo::new(move |_| asked.read().label.as_ref() == Some(&value));
            view! {
                <option value=label.clone() selected=is_asked prop:selected=is_asked>
                    {label.clone()}
                </option>
            }
        })
        .collect_view();
    view! {
        <section class="card" id="rows">
            <header class="card-head">
                <h2 class="card-title">"Rows"</h2>
            </header>
            // Without the script the browser sends the form itself; with it only the rows change.
            <form
                class="row-search"
                role="search"
                method="get"
                action=format!("/datasets/{id}")
                on:submit=on_submit
            >
                <label class="visually-hidden" for="q">
                    "Search in the texts"
                </label>
                <input
                    class="input"
                    type="search"
                    id="q"
                    name="q"
                    node_ref=search
                    placeholder="Search in the texts"
                    value=move || asked.read().search.clone()
                    prop:value=move || asked.read().search.clone()
                />
                <label class="visually-hidden" for="label">
                    "Only this label"
                </label>
                <select class="select" id="label" name="label" node_ref=label>
                    <option value="">"All labels"</option>
                    {options}
                </select>
                <button class="button" type="submit">
                    "Search"
                </button>
            </form>
            <Transition fallback=|| view! { <Loading what="rows" /> }>
                {move || {
                    let labels = labels.clone();
                    rows.get()
                        .map(|rows| match rows {
                            Ok(page) => view! { <RowTable id page asked=asked.get_untracked() labels /> }.into_any(),
                            Err(error) => view! { <ErrorNotice error /> }.into_any(),
                        })
                }}
            </Transition>
        </section>
    }
}

#[component]
fn RowTable(id: DatasetId, page: RowPage, asked: RowQuery, labels: Vec<String>) -> impl IntoView {
    let found = format::counted(page.matching, "row", "rows");
    let found = match (asked.search.is_empty(), &asked.label) {
        (true, None) => found,
        (true, Some(label)) => format!("{found} with the label {label}"),
        (false, None) => format!("{found} with “{}”", asked.search),
        (false, Some(label)) => format!("{found} with “{}” and the label {label}", asked.search),
    };
    let all = RowQuery::default();
    let is_empty = page.rows.is_empty();
    let is_filtered = asked != all;
    let rows = page
        .rows
        .into_iter()
        .map(|row| {
            let index = labels.iter().position(|label| *label == row.label);
            view! {
                <tr>
                    <td class="number soft">{row.line}</td>
                    <td class="text">{row.text}</td>
                    <td>
                        <LabelName index name=row.label />
                    </td>
                </tr>
            }
        })
        .collect_view();
    view! {
        <p class="row-found soft small" role="status">
            {found}
            {is_filtered.then(|| view! { " · " <a href=all.address(id, 0)>"Show all"</a> })}
        </p>
        <div hidden=is_empty>
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
            page=page.page
            page_size=page.page_size
            total=page.matching
            what="rows"
            href=move |page| asked.address(id, page)
        />
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_holds_the_whole_question() {
        let asked = RowQuery { search: "a & b".into(), label: Some("x=y".into()), page: 0 };
        let address = asked.address(7, 2);
        assert_eq!(address, "/datasets/7?q=a%20%26%20b&label=x%3Dy&page=3#rows");
        let query: ParamsMap = [("q", "a & b"), ("label", "x=y"), ("page", "3")]
            .into_iter()
            .map(|(name, value)| (name.to_string(), value.to_string()))
            .collect();
        assert_eq!(RowQuery::read(&query), RowQuery { page: 2, ..asked });
    }

    #[test]
    fn nonsense_in_the_address_asks_for_the_first_page() {
        let query: ParamsMap =
            [("page".to_string(), "-3".to_string()), ("label".to_string(), String::new())].into_iter().collect();
        assert_eq!(RowQuery::read(&query), RowQuery::default());
    }
}
