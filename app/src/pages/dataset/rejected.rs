use crate::api::datasets::{RejectedPage, rejected_rows};
use crate::components::{ErrorNotice, Loading, Pager, TableScroll};
use crate::format;
use crate::while_shown::while_shown;
use domain::dataset::DatasetId;
use leptos::prelude::*;
use leptos_router::hooks::use_query_map;

/// The rows that could not be used, each with its line and the reason.
#[component]
pub fn RejectedRows(
    id: DatasetId,
    /// On all pages.
    total: u64,
) -> impl IntoView {
    let query = use_query_map();
    let is_open = query.read_untracked().get("rejected").is_some();
    // In the address pages count from 1.
    let page = Memo::new(move |_| {
        query.read().get("rejected").and_then(|page| page.parse::<u64>().ok()).unwrap_or(1).saturating_sub(1)
    });
    let rejected = Resource::new(while_shown(page), move |page| rejected_rows(id, page));
    view! {
        <section class="card" id="rejected">
            <details class="fold" open=is_open>
                <summary class="fold-summary">
                    <h2>{format::counted(total, "rejected row", "rejected rows")}</h2>
                </summary>
                <p class="soft small">
                    "Left out of the dataset. To have them in, mend them in the file and import it again."
                </p>
            <Transition fallback=|| view! { <Loading what="rejected rows" /> }>
                {move || {
                    rejected
                        .get()
                        .map(|rejected| match rejected {
                            Ok(rejected) => view! { <RejectedTable id rejected /> }.into_any(),
                            Err(error) => view! { <ErrorNotice error /> }.into_any(),
                        })
                }}
            </Transition>
            </details>
        </section>
    }
}

#[component]
fn RejectedTable(id: DatasetId, rejected: RejectedPage) -> impl IntoView {
    let rows = rejected
        .rows
        .into_iter()
        .map(|row| {
            view! {
                <tr>
                    <td class="number">{format::count(row.line)}</td>
                    <td class="text sentence">{row.reason}</td>
                    <td class="text mono soft">{row.excerpt}</td>
                </tr>
            }
        })
        .collect_view();
    view! {
        <TableScroll label="Rejected rows">
            <table class="table">
                <thead>
                    <tr>
                        <th scope="col" class="number">
                            "Line"
                        </th>
                        <th scope="col">"Reason"</th>
                        <th scope="col">"What stands there"</th>
                    </tr>
                </thead>
                <tbody>{rows}</tbody>
            </table>
        </TableScroll>
        <Pager
            page=rejected.page
            page_size=rejected.page_size
            total=rejected.total
            what="rejected rows"
            href=move |page| format!("/datasets/{id}?rejected={}#rejected", page + 1)
        />
    }
}
