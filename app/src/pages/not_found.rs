use crate::components::{ButtonLink, EmptyState, PageHeader};
use crate::error::{ApiError, OnPageError};
use domain::error::UserError;
use leptos::prelude::*;

/// Where no route leads.
#[component]
pub fn NotFoundPage() -> impl IntoView {
    set_status(&UserError::not_found("no such page").into());
    view! {
        <PageHeader title="Page not found" />
        <EmptyState
            title="There is no page at this address"
            text="It may have been mistyped, or what it showed was never there."
        >
            <ButtonLink href="/">"To the overview"</ButtonLink>
        </EmptyState>
    }
}

/// To be called where `error` takes the place of a page, so that the server answers with the error's status code.
/// In the browser it does nothing.
pub fn set_status(error: &ApiError) {
    if let Some(OnPageError(tell)) = use_context() {
        tell(error.kind());
    }
}
