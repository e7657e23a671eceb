use super::ButtonKind;
use leptos::prelude::*;
use leptos::wasm_bindgen::{JsCast, JsValue};
use leptos::web_sys::HtmlDialogElement;

/// A button and the question that it opens: what will be lost, and the form that does it (the children). It opens by
/// the button's `commandfor`, so that it needs no script; with it, browsers that do not know that attribute open it,
/// too. Escape and "Cancel" close it.
#[component]
pub fn Ask(
    /// `id` of the dialog, one of its kind on the page.
    #[prop(into)]
    id: String,
    /// Words on the button.
    #[prop(into)]
    button: String,
    /// What the button does to whom, for those who do not see what is beside it.
    #[prop(into)]
    button_label: String,
    #[prop(optional)] kind: ButtonKind,
    #[prop(into)] title: String,
    children: Children,
) -> impl IntoView {
    let title_id = format!("{id}-title");
    let class = if kind == ButtonKind::Danger { "button button-danger" } else { "button button-quiet" };
    let open = {
        let id = id.clone();
        move |event: leptos::ev::MouseEvent| {
            let button = event.current_target().map(JsValue::from).unwrap_or_default();
            if js_sys::Reflect::has(&button, &"commandForElement".into()).unwrap_or(false) {
                return;
            }
            let dialog = document().get_element_by_id(&id);
            if let Some(dialog) = dialog.and_then(|element| element.dyn_into::<HtmlDialogElement>().ok()) {
                // It fails only for a dialog that is open or gone, and then there is nothing to do.
                let _ = dialog.show_modal();
            }
        }
    };
    view! {
        <button type="button" class=class aria-label=button_label commandfor=id.clone() command="show-modal" on:click=open>
            {button}
        </button>
        <dialog class="dialog" id=id aria-labelledby=title_id.clone()>
            <div class="stack">
                <h2 id=title_id.clone()>{title}</h2>
                {children()}
                <form method="dialog" class="dialog-cancel">
                    <button type="submit" class="button">
                        "Cancel"
                    </button>
                </form>
            </div>
        </dialog>
    }
    .into_any()
}
