use crate::api::run_form::RunForm;
use leptos::prelude::*;
use leptos::wasm_bindgen::JsCast;

/// What the person has typed into the server's form before the script took it over; `None` where there was no such
/// form, or on the server.
pub fn typed_before_the_script(first: &RunForm) -> Option<RunForm> {
    let takes_over = Owner::current_shared_context().is_some_and(|context| context.during_hydration());
    if !takes_over {
        return None;
    }
    let element = document().get_element_by_id("new-run")?;
    let data = leptos::web_sys::FormData::new_with_form(element.dyn_ref()?).ok()?;
    let mut typed = first.clone();
    for field in RunForm::fields() {
        // Line breaks of a text area come as LF here, but not everywhere.
        if let Some(words) = data.get(&format!("form[{field}]")).as_string() {
            typed.set(field, words.replace("\r\n", "\n"));
        }
    }
    typed.settle_modules();
    (typed != *first).then_some(typed)
}
