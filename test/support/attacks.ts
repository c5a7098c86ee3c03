/** Texts that a trace or a file's name may hold, and that must do nothing: mark-up, control characters, marks of direction, sheer size. */
export const ATTACKS: readonly string[] = [
  "</script><script>alert(1)</script>",
  "<img src=x onerror=alert(2)>",
  "<!--<script>",
  '"><svg onload=alert(3)>',
  "\u202Egnp.exe\u202C\u0000\u001b[31m",
  "javascript:alert(4)",
  ["$", "{alert(5)}"].join(""),
  "A".repeat(10_000_000),
];
