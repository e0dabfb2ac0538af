// Shows failures of the API at the top of the page.

import { explain } from './api.js';
import { notify } from './dom.js';

export const showFailure = (error) => notify(explain(error), { failed: true, code: error.code });
