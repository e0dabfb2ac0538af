// The page on which users create an account.

import { call } from './api.js';
import { $ } from './dom.js';
import { onSubmit } from './forms.js';
import { goOnAs } from './navigation.js';
import './providers.js';

onSubmit($('register'), ({ name, email, password }) => call('register', {
  name: name.value,
  email: email.value,
  password: password.value,
}), goOnAs);
