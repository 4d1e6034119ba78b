/** What a person reads when something fails; other errors are faults of the page. */
export class UserError extends Error {}
