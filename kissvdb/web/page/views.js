// The views there are, in the order of the list at the left. `load` is called when one is first
// looked at and gives a module with `view = {component}`; `letter` is its shortcut after "g".
export const VIEWS = [
  { id: "overview", title: "Overview", icon: "overview", letter: "o", load: () => import("/page/overview.js") },
  { id: "stream", title: "Events", icon: "stream", letter: "e", load: () => import("/page/stream.js") },
  { id: "state", title: "State", icon: "state", letter: "s", load: () => import("/page/state.js") },
  { id: "vectors", title: "Vectors", icon: "vectors", letter: "v", load: () => import("/views/vectors.js") },
  { id: "documents", title: "Documents", icon: "documents", letter: "d", load: () => import("/views/documents.js") },
  { id: "sql", title: "SQL", icon: "sql", letter: "q", load: () => import("/views/sql.js") },
  { id: "batch", title: "Batch", icon: "batch", letter: "b", load: () => import("/views/batch.js") },
  { id: "keys", title: "Keys", icon: "keys", letter: "k", load: () => import("/views/keys.js") },
  { id: "backup", title: "Backup", icon: "backup", letter: "u", load: () => import("/views/backup.js") },
];
