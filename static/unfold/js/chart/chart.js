/* In place of Chart.js, which django-unfold brings: no page of the panel draws a chart with it. */
