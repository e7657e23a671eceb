use crate::format;
use leptos::prelude::*;

/// Links to the page before and after. Shows nothing where one page holds all.
#[component]
pub fn Pager(
    /// Counted from 0.
    page: u64,
    page_size: u64,
    /// Entries on all pages.
    total: u64,
    /// What is paged through, such as `rows`.
    #[prop(into)]
    what: String,
    /// The address of a page, counted from 0.
    href: impl Fn(u64) -> String + 'static,
) -> impl IntoView {
    let pages = total.div_ceil(page_size.max(1));
    if pages <= 1 {
        return None;
    }
    let first = page * page_size + 1;
    let last = (first + page_size - 1).min(total);
    let step = |to: Option<u64>, words: &'static str, rel: &'static str| match to {
        Some(to) => view! {
            <a class="button" href=href(to) rel=rel>
                {words}
            </a>
        }
        .into_any(),
        None => view! {
            <span class="button is-disabled" aria-disabled="true">
                {words}
            </span>
        }
        .into_any(),
    };
    Some(view! {
        <nav class="pager" aria-label=format!("Pages of {what}")>
            {step(page.checked_sub(1), "Previous", "prev")}
            <span class="pager-place">
                {format!("{} to {} of {} {what}", format::count(first), format::count(last), format::count(total))}
            </span>
            {step((page + 1 < pages).then_some(page + 1), "Next", "next")}
        </nav>
    })
}
