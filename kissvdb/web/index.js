for (const each of document.querySelectorAll(".origin")) each.textContent = location.origin;
