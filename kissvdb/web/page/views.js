// The views there are, in the order of the list at the left. `load` is called when one is first
// looked at and gives a module with `view = {component}`; `letter` is its shortcut after "g".
export const VIEWS = [
  { id: "overview", title: "Overview", icon: "overview", letter: "o", load: () => import("/page/overview.js") },
];
